// token.js - makes the JSON web tokens that the tests and the demo sign in with.
// SPDX-License-Identifier: PostgreSQL
import { createHmac, generateKeyPairSync, randomBytes, sign } from 'node:crypto';

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

/** A key to sign with: RS256, ES256 or HS256. */
export function makeKey(alg, kid) {
  if (alg === 'HS256') return { alg, kid, secret: randomBytes(32) };
  const how = alg === 'RS256' ? ['rsa', { modulusLength: 2048 }] : ['ec', { namedCurve: 'P-256' }];
  return { alg, kid, ...generateKeyPairSync(...how) };
}

/** What a JWKS says of it. */
export function jwkOf({ alg, kid, secret, publicKey }) {
  if (secret) return { kty: 'oct', kid, alg, k: secret.toString('base64url') };
  return { ...publicKey.export({ format: 'jwk' }), kid, alg, use: 'sig' };
}

/** A token signed with a key of makeKey. */
export function mintSigned({ alg, kid, secret, privateKey }, claims, { header = {} } = {}) {
  const now = Math.floor(Date.now() / 1000);
  const head = encode(JSON.stringify({ alg, typ: 'JWT', kid, ...header }));
  const body = encode(JSON.stringify({ iat: now, exp: now + 3600, ...claims }));
  const text = `${head}.${body}`;
  const signature = secret ? createHmac('sha256', secret).update(text).digest() : sign('sha256', text, { key: privateKey, dsaEncoding: 'ieee-p1363' });
  return `${text}.${signature.toString('base64url')}`;
}
