// small_disk.js - a server whose files lie on a small file system of its own, which can be filled up and given room again.
// SPDX-License-Identifier: PostgreSQL
import { execFileSync } from 'node:child_process';
import { closeSync, mkdtempSync, openSync, rmdirSync, rmSync, statfsSync, statSync, symlinkSync, writeSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';

/** Why it cannot be: mounting takes root. Undefined: it can. */
export const whyNoSmallDisk = () => (process.getuid() === 0 ? undefined : 'mounting a small file system takes root');

export class SmallDisk {
  /** Puts the whole data directory, or only its `part` ('pg_wal'), onto a tmpfs of so many megabytes; the server is stopped for it. */
  static async under(server, megabytes, { part } = {}) {
    const disk = new SmallDisk();
    const data = path.join(server.directory, 'data');
    disk.place = part ? path.join(data, part) : data;
    disk.mounted = mkdtempSync(path.join(tmpdir().length > 60 ? '/tmp' : tmpdir(), 'sync-disk.'));
    await server.halt();
    execFileSync('mount', ['-t', 'tmpfs', '-o', `size=${megabytes}m,mode=0700,uid=${statSync(data).uid}`, 'tmpfs', disk.mounted]);
    // the kernel takes it away with us, however we end: lazily, once the last file is closed
    process.once('exit', () => disk.unmount());
    execFileSync('cp', ['-a', disk.place, path.join(disk.mounted, 'files')]);
    rmSync(disk.place, { recursive: true });
    symlinkSync(path.join(disk.mounted, 'files'), disk.place);
    await server.start();
    return disk;
  }

  get free() {
    const { bavail, bsize } = statfsSync(this.mounted);
    return bavail * bsize;
  }

  /** Leaves so many bytes. */
  fill(leave = 0) {
    const file = openSync(path.join(this.mounted, 'filler'), 'a');
    const block = Buffer.alloc(65536, 1);
    try {
      while (this.free > leave) writeSync(file, block, 0, Math.min(block.length, Math.max(this.free - leave, 4096)));
    } catch (error) {
      if (error.code !== 'ENOSPC') throw error;
    } finally {
      closeSync(file);
    }
  }

  /** There is room again. */
  clear() {
    rmSync(path.join(this.mounted, 'filler'), { force: true });
  }

  unmount() {
    if (!this.mounted) return;
    execFileSync('umount', ['-l', this.mounted]);
    rmdirSync(this.mounted);
    this.mounted = undefined;
  }
}
