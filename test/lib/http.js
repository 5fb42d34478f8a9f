// http.js - asks the streamer over HTTP and hands back status and parsed body.
// SPDX-License-Identifier: PostgreSQL

/** POST (or GET without `body`); `body` may be a string to send something that is no JSON. */
export async function request(url, { token, body, headers = {}, method } = {}) {
  const sent = typeof body === 'string' || body === undefined ? body : JSON.stringify(body);
  const response = await fetch(url, {
    method: method ?? (sent === undefined ? 'GET' : 'POST'),
    headers: {
      ...(sent === undefined ? {} : { 'content-type': 'application/json' }),
      ...(token ? { authorization: `Bearer ${token}` } : {}),
      ...headers,
    },
    body: sent,
    signal: AbortSignal.timeout(60_000),
  });
  const text = await response.text();
  let json;
  try {
    json = JSON.parse(text);
  } catch {
    json = undefined;
  }
  return { status: response.status, headers: response.headers, text, json };
}
