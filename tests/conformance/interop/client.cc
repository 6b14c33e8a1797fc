// The interoperability cases from gRPC C++: client PORT [CA_FILE [CERT_FILE KEY_FILE]]
// Prints each case that passed; the exit code is 1 when one failed.
#include <grpcpp/generic/generic_stub.h>
#include <grpcpp/grpcpp.h>

#include <chrono>
#include <fstream>
#include <functional>
#include <iostream>
#include <memory>
#include <sstream>
#include <stdexcept>
#include <string>
#include <vector>

#include "interop.grpc.pb.h"

namespace {

using grpc::ClientContext;
using grpc::Status;
using grpc::StatusCode;
using grpc::testing::Empty;
using grpc::testing::SimpleRequest;
using grpc::testing::SimpleResponse;
using grpc::testing::StreamingInputCallRequest;
using grpc::testing::StreamingInputCallResponse;
using grpc::testing::StreamingOutputCallRequest;
using grpc::testing::StreamingOutputCallResponse;
using grpc::testing::TestService;

const std::vector<int> request_sizes = {27182, 8, 1828, 45904};
const std::vector<int> response_sizes = {31415, 9, 2653, 58979};
const char initial_key[] = "x-grpc-test-echo-initial";
const char trailing_key[] = "x-grpc-test-echo-trailing-bin";

void require(bool holds, const std::string &what) {
  if (!holds)
    throw std::runtime_error(what);
}

void require_code(const Status &status, StatusCode code) {
  require(status.error_code() == code,
          "status " + std::to_string(status.error_code()) + ": " + status.error_message());
}

// A context with a deadline, as no call may hang.
struct Call : ClientContext {
  Call() { set_deadline(std::chrono::system_clock::now() + std::chrono::seconds(60)); }
};

StreamingOutputCallRequest output_request(int size, int request_size = 0) {
  StreamingOutputCallRequest request;
  request.add_response_parameters()->set_size(size);
  request.mutable_payload()->set_body(std::string(static_cast<size_t>(request_size), '\0'));
  return request;
}

SimpleRequest large_request() {
  SimpleRequest request;
  request.set_response_size(314159);
  request.mutable_payload()->set_body(std::string(271828, '\0'));
  return request;
}

class Client {
 public:
  explicit Client(const std::shared_ptr<grpc::Channel> &channel)
      : stub_(TestService::NewStub(channel)), generic_(channel) {}

  void empty_unary() {
    Call call;
    Empty answer;
    require_code(stub_->EmptyCall(&call, {}, &answer), StatusCode::OK);
  }

  void large_unary() { unary(large_request()); }

  // The request says that it must come compressed, or must not.
  void client_compressed_unary() {
    SimpleRequest request = large_request();
    request.mutable_expect_compressed()->set_value(true);
    unary(request, GRPC_COMPRESS_NONE, StatusCode::INVALID_ARGUMENT);
    unary(request, GRPC_COMPRESS_GZIP);
    request.mutable_expect_compressed()->set_value(false);
    unary(request);
  }

  void server_compressed_unary() {
    SimpleRequest request = large_request();
    for (bool is_compressed : {true, false}) {
      request.mutable_response_compressed()->set_value(is_compressed);
      unary(request);
    }
  }

  void client_compressed_streaming() {
    Call call;
    StreamingInputCallResponse answer;
    call.set_compression_algorithm(GRPC_COMPRESS_GZIP);
    auto writer = stub_->StreamingInputCall(&call, &answer);
    for (int size : {27182, 45904}) {
      StreamingInputCallRequest request;
      grpc::WriteOptions options;
      bool is_compressed = size == 27182;
      request.mutable_expect_compressed()->set_value(is_compressed);
      request.mutable_payload()->set_body(std::string(static_cast<size_t>(size), '\0'));
      if (!is_compressed)
        options.set_no_compression();
      require(writer->Write(request, options), "write");
    }
    require(writer->WritesDone(), "writes done");
    require_code(writer->Finish(), StatusCode::OK);
    require(answer.aggregated_payload_size() == 73086, "sum");
  }

  void server_compressed_streaming() {
    Call call;
    StreamingOutputCallRequest request;
    for (int size : {31415, 92653}) {
      auto *wanted = request.add_response_parameters();
      wanted->set_size(size);
      wanted->mutable_compressed()->set_value(size == 31415);
    }
    require(read_all(stub_->StreamingOutputCall(&call, request).get()) ==
                std::vector<int>({31415, 92653}),
            "sizes");
  }

  void client_streaming() {
    Call call;
    StreamingInputCallResponse answer;
    auto writer = stub_->StreamingInputCall(&call, &answer);
    for (int size : request_sizes) {
      StreamingInputCallRequest request;
      request.mutable_payload()->set_body(std::string(static_cast<size_t>(size), '\0'));
      require(writer->Write(request), "write");
    }
    writer->WritesDone();
    require_code(writer->Finish(), StatusCode::OK);
    require(answer.aggregated_payload_size() == 74922, "sum");
  }

  void server_streaming() {
    Call call;
    StreamingOutputCallRequest request;
    for (int size : response_sizes)
      request.add_response_parameters()->set_size(size);
    require(read_all(stub_->StreamingOutputCall(&call, request).get()) == response_sizes, "sizes");
  }

  void ping_pong() {
    Call call;
    StreamingOutputCallResponse answer;
    auto stream = stub_->FullDuplexCall(&call);
    for (size_t i = 0; i < response_sizes.size(); i++) {
      require(stream->Write(output_request(response_sizes[i], request_sizes[i])), "write");
      require(stream->Read(&answer), "read");
      require(static_cast<int>(answer.payload().body().size()) == response_sizes[i], "size");
    }
    stream->WritesDone();
    require(!stream->Read(&answer), "an answer too many");
    require_code(stream->Finish(), StatusCode::OK);
  }

  void half_duplex() {
    Call call;
    auto stream = stub_->HalfDuplexCall(&call);
    for (int size : response_sizes)
      require(stream->Write(output_request(size)), "write");
    stream->WritesDone();
    require(read_all(stream.get()) == response_sizes, "sizes");
  }

  void empty_stream() {
    Call call;
    StreamingOutputCallResponse answer;
    auto stream = stub_->FullDuplexCall(&call);
    stream->WritesDone();
    require(!stream->Read(&answer), "an answer too many");
    require_code(stream->Finish(), StatusCode::OK);
  }

  void cancel_after_begin() {
    Call call;
    StreamingInputCallResponse answer;
    auto writer = stub_->StreamingInputCall(&call, &answer);
    call.TryCancel();
    require_code(writer->Finish(), StatusCode::CANCELLED);
  }

  void cancel_after_first_response() {
    Call call;
    StreamingOutputCallResponse answer;
    auto stream = stub_->FullDuplexCall(&call);
    require(stream->Write(output_request(31415, 27182)), "write");
    require(stream->Read(&answer), "read");
    call.TryCancel();
    require_code(stream->Finish(), StatusCode::CANCELLED);
  }

  void timeout_on_sleeping_server() {
    ClientContext call;
    call.set_deadline(std::chrono::system_clock::now() + std::chrono::milliseconds(1));
    auto stream = stub_->FullDuplexCall(&call);
    StreamingOutputCallRequest request;
    request.mutable_payload()->set_body(std::string(27182, '\0'));
    stream->Write(request);
    StreamingOutputCallResponse answer;
    while (stream->Read(&answer)) {
    }
    require_code(stream->Finish(), StatusCode::DEADLINE_EXCEEDED);
  }

  void custom_metadata() {
    Call call;
    SimpleResponse answer;
    call.AddMetadata(initial_key, "test_initial_metadata_value");
    call.AddMetadata(trailing_key, "\xab\xab\xab");
    require_code(stub_->UnaryCall(&call, large_request(), &answer), StatusCode::OK);
    require_metadata(call);
    Call duplex;
    duplex.AddMetadata(initial_key, "test_initial_metadata_value");
    duplex.AddMetadata(trailing_key, "\xab\xab\xab");
    auto stream = stub_->FullDuplexCall(&duplex);
    require(stream->Write(output_request(314159, 271828)), "write");
    stream->WritesDone();
    require(read_all(stream.get()).size() == 1, "answers");
    require_metadata(duplex);
  }

  void status_code_and_message() { echo_status("test status message"); }

  void special_status_message() {
    echo_status(
        "\t\ntest with whitespace\r\nand Unicode BMP \xe2\x98\xba and non-BMP \xf0\x9f\x98\x88\t\n");
  }

  void unimplemented() {
    for (const char *path : {"/grpc.testing.TestService/UnimplementedCall",
                             "/grpc.testing.UnimplementedService/UnimplementedCall"}) {
      Call call;
      grpc::CompletionQueue queue;
      grpc::ByteBuffer empty(nullptr, 0), answer;
      Status status;
      void *tag = nullptr;
      bool is_ok = false;
      auto reader = generic_.PrepareUnaryCall(&call, path, empty, &queue);
      reader->StartCall();
      reader->Finish(&answer, &status, nullptr);
      require(queue.Next(&tag, &is_ok), "an end");
      require_code(status, StatusCode::UNIMPLEMENTED);
    }
  }

 private:
  void unary(const SimpleRequest &request,
             grpc_compression_algorithm compression = GRPC_COMPRESS_NONE,
             StatusCode code = StatusCode::OK) {
    Call call;
    SimpleResponse answer;
    call.set_compression_algorithm(compression);
    require_code(stub_->UnaryCall(&call, request, &answer), code);
    if (code == StatusCode::OK)
      require(answer.payload().body() == std::string(314159, '\0'), "the answer");
  }

  template <class Reader>
  std::vector<int> read_all(Reader *reader) {
    std::vector<int> sizes;
    StreamingOutputCallResponse answer;
    while (reader->Read(&answer))
      sizes.push_back(static_cast<int>(answer.payload().body().size()));
    require_code(reader->Finish(), StatusCode::OK);
    return sizes;
  }

  static void require_metadata(const ClientContext &call) {
    auto initial = call.GetServerInitialMetadata().find(initial_key);
    auto trailing = call.GetServerTrailingMetadata().find(trailing_key);
    require(initial != call.GetServerInitialMetadata().end() &&
                initial->second == "test_initial_metadata_value",
            "initial metadata");
    require(trailing != call.GetServerTrailingMetadata().end() &&
                trailing->second == "\xab\xab\xab",
            "trailing metadata");
  }

  void echo_status(const std::string &text) {
    SimpleRequest request;
    SimpleResponse answer;
    Call call;
    request.mutable_response_status()->set_code(2);
    request.mutable_response_status()->set_message(text);
    Status status = stub_->UnaryCall(&call, request, &answer);
    require_code(status, StatusCode::UNKNOWN);
    require(status.error_message() == text, "message");
  }

  std::unique_ptr<TestService::Stub> stub_;
  grpc::GenericStub generic_;
};

std::string contents(const char *path) {
  std::ifstream file(path);
  std::ostringstream text;
  text << file.rdbuf();
  return text.str();
}

std::shared_ptr<grpc::ChannelCredentials> credentials(int argc, char **argv) {
  if (argc < 3)
    return grpc::InsecureChannelCredentials();
  grpc::SslCredentialsOptions options;
  options.pem_root_certs = contents(argv[2]);
  if (argc > 4) {
    options.pem_cert_chain = contents(argv[3]);
    options.pem_private_key = contents(argv[4]);
  }
  return grpc::SslCredentials(options);
}

const std::vector<std::pair<const char *, void (Client::*)()>> cases = {
    {"empty_unary", &Client::empty_unary},
    {"large_unary", &Client::large_unary},
    {"client_compressed_unary", &Client::client_compressed_unary},
    {"server_compressed_unary", &Client::server_compressed_unary},
    {"client_streaming", &Client::client_streaming},
    {"client_compressed_streaming", &Client::client_compressed_streaming},
    {"server_streaming", &Client::server_streaming},
    {"server_compressed_streaming", &Client::server_compressed_streaming},
    {"ping_pong", &Client::ping_pong},
    {"half_duplex", &Client::half_duplex},
    {"empty_stream", &Client::empty_stream},
    {"cancel_after_begin", &Client::cancel_after_begin},
    {"cancel_after_first_response", &Client::cancel_after_first_response},
    {"timeout_on_sleeping_server", &Client::timeout_on_sleeping_server},
    {"custom_metadata", &Client::custom_metadata},
    {"status_code_and_message", &Client::status_code_and_message},
    {"special_status_message", &Client::special_status_message},
    {"unimplemented", &Client::unimplemented},
};

}  // namespace

int main(int argc, char **argv) {
  if (argc < 2) {
    std::cerr << "usage: client PORT [CA_FILE [CERT_FILE KEY_FILE]]\n";
    return 2;
  }
  Client client(
      grpc::CreateChannel("127.0.0.1:" + std::string(argv[1]), credentials(argc, argv)));
  int failed = 0;
  for (const auto &[name, run] : cases) {
    try {
      (client.*run)();
      std::cout << "passed " << name << "\n";
    } catch (const std::exception &error) {
      failed++;
      std::cout << "FAILED " << name << ": " << error.what() << "\n";
    }
  }
  return failed ? 1 : 0;
}
