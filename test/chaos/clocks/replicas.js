// replicas.js - three copies that pull at their own pace, by SQL; in the end each must be what the tables are.
// SPDX-License-Identifier: PostgreSQL
import { Copy } from '../../lib/client.js';
import { differences, expectedRows } from '../../lib/expected.js';

export class Replicas {
  constructor(database, tables, random) {
    Object.assign(this, { database, tables, random });
    this.all = ['ada', 'ben', 'cleo'].map((sub) => ({ sub, copy: new Copy(), token: undefined }));
    this.size = this.all.length;
  }

  async #pull(replica) {
    for (let more = true; more; ) {
      const answer = await this.database.call('pull', { device_id: `replica of ${replica.sub}`, limit: 1000, ...(replica.token ? { sync_token: replica.token } : {}) }, { sub: replica.sub, role: 'app' });
      replica.copy.apply(answer);
      replica.token = answer.next_sync_token;
      more = answer.has_more;
    }
  }

  /** Now and then while others write. */
  async pullSome() {
    for (const replica of this.all) if (this.random.chance(0.4)) await this.#pull(replica);
  }

  /** Pulls to the end; what differs then, as texts. */
  async compare() {
    const found = [];
    for (const replica of this.all) {
      await this.#pull(replica);
      for (const { name } of this.tables) {
        const expected = await expectedRows(this.database, name);
        for (const [id, data] of expected) if (data.deleted_at) expected.delete(id);
        found.push(...differences(replica.copy.table(name), expected).map((text) => `the replica of ${replica.sub}: ${name}: ${text}`));
      }
    }
    return found.slice(0, 5);
  }
}
