// token.js - makes the JSON web tokens that the tests and the demo sign in with.
// SPDX-License-Identifier: PostgreSQL
import { createHmac } from 'node:crypto';

const encode = (value) => Buffer.from(value).toString('base64url');

/** An HS256 token. `header` replaces parts of the header, `signWith` lets a test sign with a wrong key. */
export function mintToken(secret, claims, { header = {}, signWith = secret } = {}) {
  const now = Math.floor(Date.now() / 1000);
  const head = encode(JSON.stringify({ alg: 'HS256', typ: 'JWT', ...header }));
  const body = encode(JSON.stringify({ iat: now, exp: now + 3600, ...claims }));
  const signature = createHmac('sha256', signWith).update(`${head}.${body}`).digest('base64url');
  return `${head}.${body}.${signature}`;
}

/** A token that claims to need no signature: every server must refuse it. */
export function mintUnsignedToken(claims) {
  const now = Math.floor(Date.now() / 1000);
  return `${encode('{"alg":"none","typ":"JWT"}')}.${encode(JSON.stringify({ iat: now, exp: now + 3600, ...claims }))}.`;
}
