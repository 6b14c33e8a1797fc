package example;

import io.grpc.CallCredentials;
import io.grpc.ChannelCredentials;
import io.grpc.CompositeChannelCredentials;
import io.grpc.Grpc;
import io.grpc.InsecureChannelCredentials;
import io.grpc.ManagedChannel;
import io.grpc.Metadata;
import io.grpc.TlsChannelCredentials;
import java.io.File;
import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.HashMap;
import java.util.List;
import java.util.Map;
import java.util.concurrent.Executor;

/** Connects by what the command line says. */
public final class Main {
  private static final String USAGE =
      "usage: example [--target HOST:PORT] [--ca FILE] [--token-file FILE] [--plaintext] [--events N]";

  /** gRPC repeats these calls by itself when the store is away. That is safe: the events carry ids. */
  private static final Map<String, ?> SERVICE_CONFIG = Map.of("methodConfig", List.of(Map.of(
      "name", List.of(Map.of("service", "auditstore.v1.AuditStore", "method", "WriteEvents"),
          Map.of("service", "auditstore.v1.AuditStore", "method", "ListEvents")),
      "retryPolicy", Map.of("maxAttempts", 5.0, "initialBackoff", "1s", "maxBackoff", "5s",
          "backoffMultiplier", 2.0, "retryableStatusCodes", List.of("UNAVAILABLE", "UNKNOWN")))));

  /** The token that each call carries. */
  private static final class Bearer extends CallCredentials {
    private final Metadata headers = new Metadata();

    Bearer(String token) {
      headers.put(Metadata.Key.of("authorization", Metadata.ASCII_STRING_MARSHALLER), "Bearer " + token);
    }

    @Override
    public void applyRequestMetadata(RequestInfo info, Executor executor, MetadataApplier applier) {
      applier.apply(headers);
    }
  }

  private static Map<String, String> parse(String[] args) {
    Map<String, String> options = new HashMap<>(Map.of("--target", "localhost:7443", "--events", "300"));
    for (int i = 0; i < args.length; i++) {
      if (args[i].equals("--plaintext")) {
        options.put(args[i], "");
      } else if (List.of("--target", "--ca", "--token-file", "--events").contains(args[i])
          && i + 1 < args.length) {
        options.put(args[i], args[++i]);
      } else {
        throw new IllegalArgumentException(USAGE);
      }
    }
    if (options.containsKey("--plaintext") && options.containsKey("--token-file")) {
      throw new IllegalArgumentException(
          "a token is sent over TLS alone: leave out --plaintext or --token-file");
    }
    return options;
  }

  private static ChannelCredentials credentials(Map<String, String> options) throws IOException {
    if (options.containsKey("--plaintext")) {
      return InsecureChannelCredentials.create();
    }
    var tls = TlsChannelCredentials.newBuilder(); // trusts the system's authorities
    if (options.containsKey("--ca")) {
      tls.trustManager(new File(options.get("--ca")));
    }
    if (!options.containsKey("--token-file")) {
      return tls.build();
    }
    String token = Files.readString(Path.of(options.get("--token-file"))).strip();
    return CompositeChannelCredentials.create(tls.build(), new Bearer(token));
  }

  public static void main(String[] args) throws InterruptedException {
    ManagedChannel channel = null;
    Map<String, String> options = Map.of();
    try {
      options = parse(args);
      channel = Grpc.newChannelBuilder(options.get("--target"), credentials(options))
          .defaultServiceConfig(SERVICE_CONFIG)
          .build();
      new Example(channel).run(Integer.parseInt(options.get("--events")));
    } catch (Refused | IOException | IllegalArgumentException e) {
      System.err.println("example: " + e.getMessage());
      // grpc-java calls a handshake that failed by either name.
      boolean isAway = e.getMessage().contains(": UNAVAILABLE: ") || e.getMessage().contains(": UNKNOWN: ");
      if (isAway && !options.containsKey("--plaintext")) {
        System.err.println("  TLS is on; a daemon without it needs --plaintext");
      }
      System.exit(1);
    } finally {
      if (channel != null) {
        channel.shutdownNow();
      }
    }
  }
}
