// grpc.testing.TestService on @grpc/grpc-js, for our client:
//   server.js PROTO PORT_FILE [CERT_FILE KEY_FILE [CLIENT_CA_FILE]]
// Serves on a free port of 127.0.0.1, which it writes into PORT_FILE, until SIGTERM.
'use strict';

const fs = require('fs');
const grpc = require('@grpc/grpc-js');
const loader = require('@grpc/proto-loader');

const [proto, portFile, certFile, keyFile, clientCaFile] = process.argv.slice(2);
const INITIAL = 'x-grpc-test-echo-initial';
const TRAILING = 'x-grpc-test-echo-trailing-bin';

const definition = loader.loadSync(proto, {keepCase: true, defaults: true});
const {TestService} = grpc.loadPackageDefinition(definition).grpc.testing;

const payload = (size) => ({payload: {body: Buffer.alloc(size)}});

// Sends the initial metadata, and gives the trailing one.
function metadataBack(call) {
  const initial = new grpc.Metadata();
  const trailing = new grpc.Metadata();
  for (const value of call.metadata.get(INITIAL)) initial.add(INITIAL, value);
  for (const value of call.metadata.get(TRAILING)) trailing.add(TRAILING, value);
  call.sendMetadata(initial);
  return trailing;
}

// The error that the request asks for, or null.
function errorOf(request, metadata) {
  const {code, message} = request.response_status || {code: 0};
  return code ? {code, details: message.toString(), metadata} : null;
}

function writeAnswers(call, request) {
  for (const {size} of request.response_parameters) call.write(payload(size));
}

function endStream(call, request, trailing) {
  const error = errorOf(request, trailing);
  if (error) call.emit('error', error);
  else call.end(trailing);
}

function duplex(call, isHeld) {
  const trailing = metadataBack(call);
  const requests = [];
  let isEnded = false;
  const answer = (request) => {
    writeAnswers(call, request);
    if (errorOf(request)) {
      isEnded = true;
      endStream(call, request, trailing);
    }
  };
  call.on('data', (request) => (isHeld ? requests.push(request) : answer(request)));
  call.on('end', () => {
    requests.forEach(answer);
    if (!isEnded) call.end(trailing);
  });
}

const service = {
  EmptyCall(call, done) {
    done(null, {}, metadataBack(call));
  },
  UnaryCall(call, done) {
    const {request} = call;
    const trailing = metadataBack(call);
    done(errorOf(request, trailing), {
      ...payload(request.response_size),
      server_id: Buffer.from(request.fill_server_id ? 'grpc-js' : ''),
    }, trailing);
  },
  StreamingInputCall(call, done) {
    const trailing = metadataBack(call);
    let size = 0;
    call.on('data', (request) => { size += request.payload.body.length; });
    call.on('end', () => done(null, {aggregated_payload_size: size}, trailing));
  },
  StreamingOutputCall(call) {
    const trailing = metadataBack(call);
    writeAnswers(call, call.request);
    endStream(call, call.request, trailing);
  },
  FullDuplexCall(call) {
    duplex(call, false);
  },
  HalfDuplexCall(call) {
    duplex(call, true);
  },
};

function credentials() {
  if (!certFile) return grpc.ServerCredentials.createInsecure();
  const pair = {cert_chain: fs.readFileSync(certFile), private_key: fs.readFileSync(keyFile)};
  const clientCa = clientCaFile ? fs.readFileSync(clientCaFile) : null;
  return grpc.ServerCredentials.createSsl(clientCa, [pair], clientCa !== null);
}

const server = new grpc.Server();
server.addService(TestService.service, service);
server.bindAsync('127.0.0.1:0', credentials(), (error, port) => {
  if (error) throw error;
  fs.writeFileSync(`${portFile}.new`, `${port}\n`);
  fs.renameSync(`${portFile}.new`, portFile);
});
process.on('SIGTERM', () => process.exit(0));
