//! Writes audit events to auditstored, streams more of them, and lists them all again.

mod store;

use std::collections::HashMap;
use std::time::Duration;
use store::{Bearer, Failure, Store};
use tonic::transport::{Certificate, Channel, ClientTlsConfig, Endpoint};

const USAGE: &str =
    "usage: example [--target HOST:PORT] [--ca FILE] [--token-file FILE] [--plaintext] [--events N]";

fn parse_options() -> Result<HashMap<String, String>, Failure> {
    let defaults = [("--target", "localhost:7443"), ("--events", "300")];
    let mut options = HashMap::from(defaults.map(|(name, value)| (name.into(), value.into())));
    let mut args = std::env::args().skip(1);
    while let Some(name) = args.next() {
        let value = match name.as_str() {
            "--plaintext" => String::new(),
            "--target" | "--ca" | "--token-file" | "--events" => args.next().ok_or(USAGE)?,
            _ => return Err(USAGE.into()),
        };
        options.insert(name, value);
    }
    if options.contains_key("--plaintext") && options.contains_key("--token-file") {
        return Err("a token is sent over TLS alone: leave out --plaintext or --token-file".into());
    }
    Ok(options)
}

fn connect(options: &HashMap<String, String>) -> Result<Channel, Failure> {
    let target = &options["--target"];
    let scheme = if options.contains_key("--plaintext") { "http" } else { "https" };
    let mut endpoint = Endpoint::from_shared(format!("{scheme}://{target}"))?
        .connect_timeout(Duration::from_secs(5));
    if scheme == "https" {
        let tls = match options.get("--ca") {
            Some(file) => ClientTlsConfig::new().ca_certificate(Certificate::from_pem(read(file)?)),
            None => ClientTlsConfig::new().with_native_roots(),
        };
        endpoint = endpoint.tls_config(tls)?;
    }
    Ok(endpoint.connect_lazy())
}

fn read(file: &str) -> Result<String, Failure> {
    std::fs::read_to_string(file).map_err(|error| format!("{file}: {error}").into())
}

async fn run() -> Result<(), Failure> {
    let options = parse_options()?;
    let token = options.get("--token-file").map(|file| read(file)).transpose()?;
    let bearer = Bearer::new(token.as_deref())?;
    let store = Store::new(connect(&options)?, bearer);

    let run_id = format!("example-{}", uuid::Uuid::new_v4());
    let number_of_events: usize = options["--events"].parse().map_err(|_| USAGE)?;
    let events: Vec<_> =
        (0..3 + number_of_events).map(|number| store::make_event(&run_id, number)).collect();
    let batches = store::make_batches(&events[3..]);
    let wrote = store.write(&events[..3]).await?;
    let streamed = store.stream(&batches).await?;
    let mut listed = store.list_ids(&run_id).await?;
    println!("wrote {wrote}, streamed {streamed} in {} batches, listed {}", batches.len(), listed.len());
    let mut sent: Vec<_> = events.into_iter().map(|event| event.event_id).collect();
    sent.sort();
    listed.sort();
    if sent != listed {
        return Err("ListEvents: what was listed is not what was stored".into());
    }
    Ok(())
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> std::process::ExitCode {
    match run().await {
        Ok(()) => std::process::ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("example: {error}");
            // tonic calls a handshake that failed by either name.
            let text = error.to_string();
            let is_away = text.contains(": UNAVAILABLE: ") || text.contains(": UNKNOWN: ");
            if is_away && !std::env::args().any(|arg| arg == "--plaintext") {
                eprintln!("  TLS is on; a daemon without it needs --plaintext");
            }
            std::process::ExitCode::FAILURE
        }
    }
}
