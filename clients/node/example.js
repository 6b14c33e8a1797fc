// Writes audit events to auditstored, streams more of them, and lists them all again.
import { randomUUID } from 'node:crypto';
import { readFileSync } from 'node:fs';
import { setTimeout as sleep } from 'node:timers/promises';
import { fileURLToPath } from 'node:url';
import { parseArgs, promisify } from 'node:util';
import grpc from '@grpc/grpc-js';
import protoLoader from '@grpc/proto-loader';

const BATCH_EVENTS = 100;
const WINDOW = 8; // batches sent and not answered yet
const TIMEOUT_MS = 30_000;
const ATTEMPTS = 5;

// gRPC repeats these calls by itself when the store is away. That is safe: the events carry ids.
const SERVICE_CONFIG = JSON.stringify({
  methodConfig: [{
    name: [{ service: 'auditstore.v1.AuditStore', method: 'WriteEvents' },
      { service: 'auditstore.v1.AuditStore', method: 'ListEvents' }],
    retryPolicy: { maxAttempts: ATTEMPTS, initialBackoff: '1s', maxBackoff: '5s',
      backoffMultiplier: 2, retryableStatusCodes: ['UNAVAILABLE'] },
  }],
});

const definition = protoLoader.loadSync(
  ['auditstore/v1/audit_store.proto', 'google/rpc/error_details.proto'],
  { includeDirs: [fileURLToPath(new URL('../../proto', import.meta.url))],
    keepCase: true, enums: String, longs: String, defaults: true });
const { AuditStore } = grpc.loadPackageDefinition(definition).auditstore.v1;

/** What the store answered; each field that is wrong has a line of its own. */
class Refused extends Error {
  constructor(what, code, message, details = []) {
    const fields = details
      .filter((detail) => detail.type_url.endsWith('/google.rpc.BadRequest'))
      .flatMap((detail) => definition['google.rpc.BadRequest'].deserialize(detail.value).field_violations)
      .map((violation) => `\n  ${violation.field}: ${violation.description}`);
    super(`${what}: ${grpc.status[code]}: ${message}${fields.join('')}`);
  }

  static by(what, error) {
    if (error.code === undefined) return error; // not of gRPC
    const [bytes] = error.metadata.get('grpc-status-details-bin');
    const details = bytes ? definition['google.rpc.Status'].deserialize(bytes).details : [];
    return new Refused(what, error.code, error.details, details);
  }
}

const deadline = () => ({ deadline: Date.now() + TIMEOUT_MS });

/** One request and its answer. */
async function call(store, method, request) {
  try {
    return await promisify(store[method]).call(store, request, deadline());
  } catch (error) {
    throw Refused.by(method, error);
  }
}

/** The id and the time are chosen once: an event that is sent again with both is stored once. */
function makeEvent(correlationId, number) {
  const now = Date.now();
  return {
    event_id: randomUUID(),
    event_time: { seconds: Math.floor(now / 1000), nanos: (now % 1000) * 1e6 },
    event_type: 'order.placed', event_category: 'order', event_action: 'place',
    outcome: 'OUTCOME_SUCCESS', correlation_id: correlationId,
    actor: { type: 'service', id: 'node-example' },
    resource: { type: 'order', id: `${number}` },
    event_data: JSON.stringify({ number }),
  };
}

/** Stored is what receipts speak of, and nothing else. */
const count = (receipts) => receipts.reduce((sum, receipt) => sum + receipt.count, 0);

/** Sends the batches that `stored` (a map from batch_id to number of events) lacks, and fills it. */
async function streamOnce(store, batches, stored) {
  const waiting = batches.filter((batch) => !stored.has(batch.batch_id));
  const stream = store.StreamEvents(deadline());
  const sendNext = () => (waiting.length > 0 ? stream.write(waiting.shift()) : stream.end());
  for (let i = 0; i < WINDOW; i++) sendNext();
  for await (const answer of stream) {
    const { code = grpc.status.OK, message, details } = answer.status ?? {};
    if (code === grpc.status.OK) {
      stored.set(answer.batch_id, count(answer.receipts));
    } else if (code !== grpc.status.UNAVAILABLE) { // that is sent again by the next attempt
      stream.cancel();
      throw new Refused(`StreamEvents: batch ${answer.batch_id}`, code, message, details);
    }
    sendNext();
  }
}

/** Sends batches until each has its answer. Returns how many events are stored. */
async function stream(store, batches) {
  const stored = new Map();
  for (let attempt = 0; attempt < ATTEMPTS; attempt++) {
    if (attempt > 0) await sleep(Math.random() * 200 * 2 ** attempt);
    try {
      await streamOnce(store, batches, stored);
    } catch (error) {
      if (error.code !== grpc.status.UNAVAILABLE || attempt === ATTEMPTS - 1) {
        throw Refused.by('StreamEvents', error);
      }
    }
    if (stored.size === batches.length) return [...stored.values()].reduce((a, b) => a + b, 0);
  }
  throw new Refused('StreamEvents', grpc.status.UNAVAILABLE,
    `${batches.length - stored.size} batches unanswered`);
}

/** The ids of the events that the store has of this run, page by page. */
async function listIds(store, correlationId) {
  const request = { filter: { correlation_ids: [correlationId] }, page_size: 100 };
  const ids = [];
  do {
    const page = await call(store, 'ListEvents', request);
    ids.push(...page.events.map((stored) => stored.event.event_id));
    request.page_token = page.next_page_token;
  } while (request.page_token);
  return ids;
}

function connect({ target, ca, 'token-file': tokenFile, plaintext }) {
  let credentials = grpc.credentials.createInsecure();
  if (!plaintext) credentials = grpc.credentials.createSsl(ca ? readFileSync(ca) : null);
  if (tokenFile) {
    const metadata = new grpc.Metadata();
    metadata.set('authorization', `Bearer ${readFileSync(tokenFile, 'utf8').trim()}`);
    credentials = grpc.credentials.combineChannelCredentials(credentials,
      grpc.credentials.createFromMetadataGenerator((_, callback) => callback(null, metadata)));
  }
  return new AuditStore(target, credentials, { 'grpc.service_config': SERVICE_CONFIG });
}

async function run(store, numberOfEvents) {
  const correlationId = `example-${randomUUID()}`;
  const events = Array.from({ length: 3 + numberOfEvents }, (_, i) => makeEvent(correlationId, i));
  const batches = [];
  for (let i = 3; i < events.length; i += BATCH_EVENTS) {
    batches.push({ batch_id: `${batches.length}`, events: events.slice(i, i + BATCH_EVENTS) });
  }
  const wrote = count((await call(store, 'WriteEvents', { events: events.slice(0, 3) })).receipts);
  const streamed = await stream(store, batches);
  const listed = await listIds(store, correlationId);
  console.log(`wrote ${wrote}, streamed ${streamed} in ${batches.length} batches, listed ${listed.length}`);
  const sent = events.map((event) => event.event_id);
  if (listed.sort().join() !== sent.sort().join()) {
    throw new Error('ListEvents: what was listed is not what was stored');
  }
}

let options = {};
try {
  ({ values: options } = parseArgs({ options: {
    target: { type: 'string', default: 'localhost:7443' },
    ca: { type: 'string' }, // default: the system's
    'token-file': { type: 'string' },
    plaintext: { type: 'boolean' }, // no TLS, to try things out
    events: { type: 'string', default: '300' }, // to stream
  } }));
  if (options.plaintext && options['token-file']) {
    throw new Error('a token is sent over TLS alone: leave out --plaintext or --token-file');
  }
  const store = connect(options);
  await run(store, Number(options.events));
  store.close();
} catch (error) {
  console.error(`example: ${error.message}`);
  if (!options.plaintext && error.message.includes(': UNAVAILABLE: ')) {
    console.error('  TLS is on; a daemon without it needs --plaintext');
  }
  process.exitCode = 1;
}
