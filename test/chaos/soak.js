// soak.js - `make soak`: the mixed load of soak_load.js for SECONDS (1,800), and whether memory, descriptors, lag and connections stay flat.
// SPDX-License-Identifier: PostgreSQL
import { Random } from '../lib/random.js';
import { soak } from './soak_load.js';

const number = (name, otherwise) => Number(process.env[name] || otherwise);
const seconds = number('SECONDS', 1800);
const seed = number('SEED', Date.now() % 1e9);

console.log(`soak: ${seconds} s, SEED=${seed}`);
const { figures, lines, failures } = await soak({ seconds, random: new Random(seed), say: (line) => console.log(`soak: ${line}`) });
for (const line of lines) console.log(`soak: ${line}`);
for (const failure of failures) console.error(`soak: ${failure}`);
const told = Object.entries(figures).map(([name, value]) => `${name.replaceAll('_', ' ')} ${value.toLocaleString('en')}`).join(', ');
console.log(`soak: ${told}, SEED=${seed}, ${seconds} s: ${failures.length ? 'FAILED' : 'held'}`);
process.exitCode = failures.length ? 1 : 0;
