package example;

import com.google.protobuf.Any;
import com.google.protobuf.InvalidProtocolBufferException;
import com.google.rpc.BadRequest;
import io.grpc.StatusException;
import io.grpc.protobuf.StatusProto;

/** What the store answered; each field that is wrong has a line of its own. */
final class Refused extends Exception {
  Refused(String message) {
    super(message);
  }

  Refused(String what, StatusException error) {
    this(explain(what, StatusProto.fromThrowable(error)) + explain(error.getCause()));
    initCause(error);
  }

  Refused(String what, com.google.rpc.Status status) {
    this(explain(what, status));
  }

  private static String explain(String what, com.google.rpc.Status status) {
    var code = io.grpc.Status.fromCodeValue(status.getCode()).getCode();
    var text = new StringBuilder(what + ": " + code + ": " + status.getMessage());
    for (Any detail : status.getDetailsList()) {
      if (detail.is(BadRequest.class)) {
        explain(text, detail);
      }
    }
    return text.toString();
  }

  /** Why there is no connection, for example. */
  private static String explain(Throwable cause) {
    return cause == null ? "" : "\n  " + cause + explain(cause.getCause());
  }

  private static void explain(StringBuilder text, Any badRequest) {
    try {
      for (var violation : badRequest.unpack(BadRequest.class).getFieldViolationsList()) {
        text.append("\n  " + violation.getField() + ": " + violation.getDescription());
      }
    } catch (InvalidProtocolBufferException e) {
      text.append("\n  unreadable details");
    }
  }
}
