//! The calls: each has a deadline and is repeated while the store is away.

use std::collections::HashMap;
use std::error::Error;
use std::future::Future;
use std::time::{Duration, SystemTime};

use prost::Message;
use proto::auditstore::v1::audit_store_client::AuditStoreClient;
use proto::auditstore::v1::{
    Actor, AuditEvent, EventFilter, ListEventsRequest, Outcome, Receipt, Resource,
    StreamEventsRequest, WriteEventsRequest,
};
use proto::google::rpc;
use tokio_stream::wrappers::ReceiverStream;
use tonic::metadata::{errors::InvalidMetadataValue, Ascii, MetadataValue};
use tonic::service::{interceptor::InterceptedService, Interceptor};
use tonic::transport::Channel;
use tonic::{Code, Request, Response, Status};

#[allow(dead_code)] // more than this program uses
mod proto {
    include!(concat!(env!("OUT_DIR"), "/proto.rs"));
}

const BATCH_EVENTS: usize = 100;
const WINDOW: usize = 8; // batches sent and not answered yet
const TIMEOUT: Duration = Duration::from_secs(30);
const ATTEMPTS: u32 = 5;

pub type Failure = Box<dyn Error>;

/// The token that each call carries.
#[derive(Clone)]
pub struct Bearer(Option<MetadataValue<Ascii>>);

impl Bearer {
    pub fn new(token: Option<&str>) -> Result<Self, InvalidMetadataValue> {
        Ok(Self(token.map(|text| format!("Bearer {}", text.trim()).parse()).transpose()?))
    }
}

impl Interceptor for Bearer {
    fn call(&mut self, mut request: Request<()>) -> Result<Request<()>, Status> {
        if let Some(value) = &self.0 {
            request.metadata_mut().insert("authorization", value.clone());
        }
        Ok(request)
    }
}

/// What the store answered; each field that is wrong has a line of its own.
fn refused(what: &str, status: &Status) -> Failure {
    let mut text = format!("{what}: {}: {}", code_name(status.code()), status.message());
    if let Some(source) = status.source() {
        text += &format!(": {source}");
    }
    let details = rpc::Status::decode(status.details()).unwrap_or_default().details;
    for detail in details.iter().filter(|any| any.type_url.ends_with("/google.rpc.BadRequest")) {
        let bad_request = rpc::BadRequest::decode(&*detail.value).unwrap_or_default();
        for violation in bad_request.field_violations {
            text += &format!("\n  {}: {}", violation.field, violation.description);
        }
    }
    text.into()
}

/// As the specification writes it, such as "NOT_FOUND".
fn code_name(code: Code) -> String {
    let mut name = String::new();
    for letter in format!("{code:?}").chars() {
        if letter.is_uppercase() && !name.is_empty() {
            name.push('_');
        }
        name.push(letter.to_ascii_uppercase());
    }
    name
}

/// The id and the time are chosen once: an event that is sent again with both is stored once.
pub fn make_event(correlation_id: &str, number: usize) -> AuditEvent {
    AuditEvent {
        event_id: uuid::Uuid::new_v4().to_string(),
        event_time: Some(SystemTime::now().into()),
        event_type: "order.placed".into(),
        event_category: "order".into(),
        event_action: "place".into(),
        outcome: Outcome::Success.into(),
        correlation_id: correlation_id.into(),
        actor: Some(Actor { r#type: "service".into(), id: "rust-example".into(), ..Default::default() }),
        resource: Some(Resource { r#type: "order".into(), id: number.to_string(), ..Default::default() }),
        event_data: format!("{{\"number\": {number}}}"),
        ..Default::default()
    }
}

pub fn make_batches(events: &[AuditEvent]) -> Vec<StreamEventsRequest> {
    let chunks = events.chunks(BATCH_EVENTS).enumerate();
    chunks
        .map(|(i, events)| StreamEventsRequest {
            batch_id: i.to_string(),
            events: events.to_vec(),
            ..Default::default()
        })
        .collect()
}

/// Stored is what receipts speak of, and nothing else.
fn count(receipts: &[Receipt]) -> u32 {
    receipts.iter().map(|receipt| receipt.count).sum()
}

fn with_deadline<T>(message: T) -> Request<T> {
    let mut request = Request::new(message);
    request.set_timeout(TIMEOUT);
    request
}

/// A lost connection is UNKNOWN to tonic; the store itself never answers that.
fn is_away(status: &Status) -> bool {
    matches!(status.code(), Code::Unavailable | Code::Unknown)
}

async fn back_off(attempt: u32) {
    tokio::time::sleep(Duration::from_millis(200 << attempt).mul_f64(fastrand::f64())).await;
}

type Client = AuditStoreClient<InterceptedService<Channel, Bearer>>;

pub struct Store(Client);

impl Store {
    pub fn new(channel: Channel, bearer: Bearer) -> Self {
        Self(AuditStoreClient::with_interceptor(channel, bearer))
    }

    /// One request and its answer. Repeating a write is safe: the events carry ids.
    async fn call<Q: Clone, A, F: Future<Output = Result<Response<A>, Status>>>(
        &self, what: &str, request: &Q, method: impl Fn(Client, Request<Q>) -> F,
    ) -> Result<A, Failure> {
        let mut attempt = 1;
        loop {
            match method(self.0.clone(), with_deadline(request.clone())).await {
                Ok(answer) => return Ok(answer.into_inner()),
                Err(status) if is_away(&status) && attempt < ATTEMPTS => {
                    back_off(attempt).await
                }
                Err(status) => return Err(refused(what, &status)),
            }
            attempt += 1;
        }
    }

    /// Sends one batch by one call. Returns how many events are stored.
    pub async fn write(&self, events: &[AuditEvent]) -> Result<u32, Failure> {
        let request = WriteEventsRequest { events: events.to_vec(), ..Default::default() };
        let method = |mut client: Client, request| async move { client.write_events(request).await };
        Ok(count(&self.call("WriteEvents", &request, method).await?.receipts))
    }

    /// Sends the batches that `stored` (from batch_id to number of events) lacks, and fills it.
    async fn stream_once(
        &self, batches: &[StreamEventsRequest], stored: &mut HashMap<String, u32>,
    ) -> Result<(), (String, Status)> {
        let failed = |status| ("StreamEvents".to_string(), status);
        let is_waiting = |batch: &&StreamEventsRequest| !stored.contains_key(&batch.batch_id);
        let mut waiting = batches.iter().filter(is_waiting).collect::<Vec<_>>().into_iter();
        let (sender, receiver) = tokio::sync::mpsc::channel(WINDOW); // never more than that in it
        let mut sender = Some(sender);
        let mut send_next = || match waiting.next() {
            Some(batch) => drop(sender.as_ref().map(|s| s.try_send(batch.clone()))), // answers say why not
            None => sender = None,                                                   // ends the requests
        };
        (0..WINDOW).for_each(|_| send_next());
        let request = with_deadline(ReceiverStream::new(receiver));
        let mut answers = self.0.clone().stream_events(request).await.map_err(failed)?.into_inner();
        while let Some(answer) = answers.message().await.map_err(failed)? {
            let status = answer.status.unwrap_or_default();
            match Code::from(status.code) {
                Code::Ok => drop(stored.insert(answer.batch_id, count(&answer.receipts))),
                Code::Unavailable => {} // sent again by the next attempt
                code => {
                    let details = status.encode_to_vec().into();
                    return Err((
                        format!("StreamEvents: batch {}", answer.batch_id),
                        Status::with_details(code, status.message, details),
                    ));
                }
            }
            send_next();
        }
        Ok(())
    }

    /// Sends batches until each has its answer. Returns how many events are stored.
    pub async fn stream(&self, batches: &[StreamEventsRequest]) -> Result<u32, Failure> {
        let mut stored = HashMap::new();
        for attempt in 1..=ATTEMPTS {
            let once = tokio::time::timeout(TIMEOUT, self.stream_once(batches, &mut stored));
            let late = |_| Err(("StreamEvents".to_string(), Status::deadline_exceeded("no answer")));
            match once.await.unwrap_or_else(late) {
                Err((what, status)) if !is_away(&status) || attempt == ATTEMPTS => {
                    return Err(refused(&what, &status));
                }
                _ if stored.len() == batches.len() => return Ok(stored.values().sum()),
                _ => back_off(attempt).await,
            }
        }
        let missing = batches.len() - stored.len();
        Err(format!("StreamEvents: UNAVAILABLE: {missing} batches unanswered").into())
    }

    /// The ids of the events that the store has of this run, asked for page by page.
    pub async fn list_ids(&self, correlation_id: &str) -> Result<Vec<String>, Failure> {
        let filter = EventFilter { correlation_ids: vec![correlation_id.into()], ..Default::default() };
        let mut request =
            ListEventsRequest { filter: Some(filter), page_size: 100, ..Default::default() };
        let method = |mut client: Client, request| async move { client.list_events(request).await };
        let mut ids = Vec::new();
        loop {
            let page = self.call("ListEvents", &request, method).await?;
            ids.extend(page.events.into_iter().filter_map(|stored| stored.event).map(|e| e.event_id));
            if page.next_page_token.is_empty() {
                return Ok(ids);
            }
            request.page_token = page.next_page_token;
        }
    }
}
