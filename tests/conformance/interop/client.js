// The interoperability cases from @grpc/grpc-js: client.js PROTO PORT [CA_FILE [CERT_FILE KEY_FILE]]
// Prints each case that passed; the exit code is 1 when one failed.
'use strict';

const assert = require('assert');
const fs = require('fs');
const grpc = require('@grpc/grpc-js');
const loader = require('@grpc/proto-loader');

const [proto, port, caFile, certFile, keyFile] = process.argv.slice(2);
const REQUEST_SIZES = [27182, 8, 1828, 45904];
const RESPONSE_SIZES = [31415, 9, 2653, 58979];
const INITIAL = 'x-grpc-test-echo-initial';
const TRAILING = 'x-grpc-test-echo-trailing-bin';

const definition = loader.loadSync(proto, {keepCase: true, defaults: true});
const {TestService} = grpc.loadPackageDefinition(definition).grpc.testing;
const read = (file) => (file ? fs.readFileSync(file) : null);
const credentials = caFile
  ? grpc.credentials.createSsl(read(caFile), read(keyFile), read(certFile))
  : grpc.credentials.createInsecure();
const client = new TestService(`127.0.0.1:${port}`, credentials);

const payload = (size) => ({body: Buffer.alloc(size)});
const outputRequest = (size, requestSize = 0) => ({
  response_parameters: [{size}], payload: payload(requestSize)});
const deadline = () => ({deadline: Date.now() + 60000});

// {error, answer, initial, trailing} of a call with one answer. Without a request it is for the caller
// to write some: on unary.last.
function unary(method, request, metadata = new grpc.Metadata()) {
  return new Promise((resolve) => {
    const seen = {};
    const done = (error, answer) => Object.assign(seen, {error, answer});
    const call = request === undefined
      ? client[method](metadata, deadline(), done)
      : client[method](request, metadata, deadline(), done);
    call.on('metadata', (initial) => { seen.initial = initial; });
    call.on('status', (status) => {
      seen.trailing = status.metadata;
      setImmediate(() => resolve(seen));
    });
    unary.last = call;
  });
}

// {sizes, status, initial} of a call with many.
function collect(call, onData = () => {}) {
  return new Promise((resolve) => {
    const seen = {sizes: []};
    call.on('metadata', (initial) => { seen.initial = initial; });
    call.on('data', (answer) => {
      seen.sizes.push(answer.payload.body.length);
      onData(seen.sizes.length);
    });
    call.on('error', () => {});
    call.on('status', (status) => {
      seen.status = status;
      resolve(seen);
    });
  });
}

function testMetadata() {
  const metadata = new grpc.Metadata();
  metadata.set(INITIAL, 'test_initial_metadata_value');
  metadata.set(TRAILING, Buffer.from('ababab', 'hex'));
  return metadata;
}

function assertMetadata(initial, trailing) {
  assert.deepStrictEqual(initial.get(INITIAL), ['test_initial_metadata_value']);
  assert.strictEqual(trailing.get(TRAILING)[0].toString('hex'), 'ababab');
}

async function statusOf(code, text) {
  const {error} = await unary('UnaryCall', {response_status: {code, message: Buffer.from(text)}});
  assert.strictEqual(error.code, code);
  assert.strictEqual(error.details, text);
}

const cases = {
  async empty_unary() {
    const {error} = await unary('EmptyCall', {});
    assert.ifError(error);
  },
  async large_unary() {
    const request = {response_size: 314159, payload: payload(271828)};
    const {error, answer} = await unary('UnaryCall', request);
    assert.ifError(error);
    assert.strictEqual(answer.payload.body.length, 314159);
  },
  async concurrent_large_unary() {
    await Promise.all(Array.from({length: 1000}, () => cases.large_unary()));
  },
  async client_streaming() {
    const done = unary('StreamingInputCall');
    for (const size of REQUEST_SIZES) unary.last.write({payload: payload(size)});
    unary.last.end();
    const {error, answer} = await done;
    assert.ifError(error);
    assert.strictEqual(answer.aggregated_payload_size, 74922);
  },
  async server_streaming() {
    const call = client.StreamingOutputCall({
      response_parameters: RESPONSE_SIZES.map((size) => ({size}))}, deadline());
    const {sizes, status} = await collect(call);
    assert.strictEqual(status.code, grpc.status.OK);
    assert.deepStrictEqual(sizes, RESPONSE_SIZES);
  },
  async ping_pong() {
    const call = client.FullDuplexCall(deadline());
    const send = (n) => call.write(outputRequest(RESPONSE_SIZES[n], REQUEST_SIZES[n]));
    const done = collect(call, (count) => (count < 4 ? send(count) : call.end()));
    send(0);
    const {sizes, status} = await done;
    assert.strictEqual(status.code, grpc.status.OK);
    assert.deepStrictEqual(sizes, RESPONSE_SIZES);
  },
  async empty_stream() {
    const call = client.FullDuplexCall(deadline());
    call.end();
    const {sizes, status} = await collect(call);
    assert.strictEqual(status.code, grpc.status.OK);
    assert.deepStrictEqual(sizes, []);
  },
  async cancel_after_begin() {
    const done = unary('StreamingInputCall');
    unary.last.cancel();
    const {error} = await done;
    assert.strictEqual(error.code, grpc.status.CANCELLED);
  },
  async cancel_after_first_response() {
    const call = client.FullDuplexCall(deadline());
    const done = collect(call, () => call.cancel());
    call.write(outputRequest(31415, 27182));
    const {sizes, status} = await done;
    assert.strictEqual(status.code, grpc.status.CANCELLED);
    assert.deepStrictEqual(sizes, [31415]);
  },
  async timeout_on_sleeping_server() {
    const call = client.FullDuplexCall({deadline: Date.now() + 1});
    const done = collect(call);
    call.write({payload: payload(27182)});
    const {status} = await done;
    assert.strictEqual(status.code, grpc.status.DEADLINE_EXCEEDED);
  },
  async custom_metadata() {
    const request = {response_size: 314159, payload: payload(271828)};
    const {error, initial, trailing} = await unary('UnaryCall', request, testMetadata());
    assert.ifError(error);
    assertMetadata(initial, trailing);
    const call = client.FullDuplexCall(testMetadata(), deadline());
    const done = collect(call, () => call.end());
    call.write(outputRequest(314159, 271828));
    const seen = await done;
    assertMetadata(seen.initial, seen.status.metadata);
  },
  async status_code_and_message() {
    await statusOf(2, 'test status message');
    const call = client.FullDuplexCall(deadline());
    const done = collect(call);
    call.write({response_status: {code: 2, message: Buffer.from('test status message')}});
    call.end();
    const {status} = await done;
    assert.strictEqual(status.code, 2);
    assert.strictEqual(status.details, 'test status message');
  },
  async special_status_message() {
    await statusOf(2, '\t\ntest with whitespace\r\nand Unicode BMP \u263a and non-BMP \u{1f608}\t\n');
  },
  async unimplemented() {
    for (const path of ['/grpc.testing.TestService/UnimplementedCall',
      '/grpc.testing.UnimplementedService/UnimplementedCall']) {
      const bytes = (value) => value;
      await new Promise((resolve, reject) => {
        client.makeUnaryRequest(path, bytes, bytes, Buffer.alloc(0), (error) => {
          if (error && error.code === grpc.status.UNIMPLEMENTED) resolve();
          else reject(new Error(`${path}: ${error}`));
        });
      });
    }
  },
};

async function main() {
  let failed = 0;
  for (const [name, run] of Object.entries(cases)) {
    try {
      await run();
      console.log(`passed ${name}`);
    } catch (error) {
      failed++;
      console.log(`FAILED ${name}: ${error.stack}`);
    }
  }
  // Not left to Node: it would wait for the timers of calls that are long over.
  process.exit(failed ? 1 : 0);
}

main();
