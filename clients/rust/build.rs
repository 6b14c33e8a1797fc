//! Makes the Rust code of proto/auditstore/v1, with protoc.
fn main() -> std::io::Result<()> {
    let proto = "../../proto";
    tonic_prost_build::configure()
        .build_server(false)
        .build_transport(false)
        .include_file("proto.rs")
        .compile_protos(
            &["auditstore/v1/audit_store.proto", "google/rpc/error_details.proto"],
            &[proto],
        )
}
