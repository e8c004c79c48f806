use std::{net::SocketAddr, sync::Arc, time::Duration};

use arrow::{
    array::{ArrayRef, AsArray, DictionaryArray, Int64Array, RecordBatch, StringViewArray},
    datatypes::{Int32Type, Int64Type},
};
use arrow_flight::FlightData;
use rcgen::{BasicConstraints, CertificateParams, IsCa, Issuer, KeyPair};
use tidegate_crds::ExchangeCompression;
use tokio::sync::mpsc::unbounded_channel;

use super::{
    frame::{Decoder, Encoder},
    post::{Inbox, Post},
    send::{Leaving, connection},
    *,
};
use crate::{
    element::{Barrier, Element},
    env,
    exchange::{
        gate::{Delivery, Gate},
        local::{Sender, channels, outbox},
    },
    ids::{Epoch, EventTime, Run},
    tls::{self, Security},
};

fn batch(from: i64, rows: i64) -> RecordBatch {
    let numbers: Int64Array = (from..from + rows).collect();
    let words: StringViewArray = (from..from + rows).map(|n| (n % 3 > 0).then(|| format!("order {n}"))).collect();
    let kinds: DictionaryArray<Int32Type> = (from..from + rows).map(|n| ["web", "store"][(n % 2) as usize]).collect();
    let columns: [(&str, ArrayRef); 3] =
        [("n", Arc::new(numbers)), ("word", Arc::new(words)), ("kind", Arc::new(kinds))];
    RecordBatch::try_from_iter(columns).unwrap()
}

fn barrier(epoch: u64) -> Element {
    Element::Barrier(Barrier { epoch: Epoch(epoch), last: false, open: false })
}

#[test]
fn what_is_written_is_read() {
    let other = RecordBatch::try_from_iter([("n", Arc::new(Int64Array::from(vec![1])) as ArrayRef)]).unwrap();
    let elements = [
        Element::Batch(batch(0, 5)),
        Element::Watermark(EventTime(-7)),
        Element::Batch(batch(5, 1000)),
        barrier(3),
        Element::Batch(other),
        Element::Batch(batch(9, 0)),
        Element::Idle,
        // A part of a larger one.
        Element::Batch(batch(0, 100).slice(40, 7)),
        Element::End,
    ];
    for compression in [ExchangeCompression::None, ExchangeCompression::Lz4] {
        let (mut encoder, mut decoder) = (Encoder::new(compression).unwrap(), Decoder::default());
        for element in &elements {
            let messages = encoder.encode(element).unwrap();
            let mut read = messages.iter().filter_map(|message| decoder.decode(message).unwrap());
            assert_eq!(format!("{:?}", read.next().unwrap()), format!("{element:?}"));
            assert!(read.next().is_none());
        }
    }
}

#[test]
fn compressed_rows_take_fewer_bytes() {
    let bytes = |compression| -> usize {
        let messages = Encoder::new(compression).unwrap().encode(&Element::Batch(batch(0, 1000))).unwrap();
        messages.iter().map(|message| message.data_body.len()).sum()
    };
    assert!(bytes(ExchangeCompression::Lz4) < bytes(ExchangeCompression::None));
}

fn encoder() -> Encoder {
    Encoder::new(ExchangeCompression::None).unwrap()
}

#[test]
fn a_schema_is_sent_once() {
    let mut encoder = encoder();
    let first = encoder.encode(&Element::Batch(batch(0, 5))).unwrap();
    let next = encoder.encode(&Element::Batch(batch(0, 5))).unwrap();
    assert_eq!((first.len(), next.len()), (3, 1), "schema, dictionary, rows; then rows");
}

#[test]
fn nonsense_is_refused() {
    let rows_first = encoder().encode(&Element::Batch(batch(0, 1))).unwrap();
    let first = |header: &[u8], metadata: &'static [u8]| {
        let mut message = FlightData {
            data_header: header.to_vec().into(),
            app_metadata: metadata.into(),
            data_body: rows_first[2].data_body.clone(),
            ..FlightData::default()
        };
        frame::seal(&mut message, 0);
        Decoder::default().decode(&message).unwrap_err().to_string()
    };
    let refused = first(&rows_first[2].data_header, b"");
    assert!(refused.contains("before their schema"), "{refused}");
    let refused = first(b"", b"\"hello\"");
    assert!(refused.contains("neither rows nor a signal"), "{refused}");
    let refused = first(b"no flatbuffer at all", b"");
    assert!(refused.contains("no Arrow message"), "{refused}");
}

#[test]
fn a_message_that_was_lost_repeated_changed_or_is_of_a_worker_without_checksums_breaks_the_channel() {
    let mut encoder = encoder();
    let elements = [Element::Batch(batch(0, 1)), Element::Watermark(EventTime(1)), Element::Watermark(EventTime(2))];
    let sent: Vec<FlightData> = elements.iter().flat_map(|element| encoder.encode(element).unwrap()).collect();
    let refused_at = |messages: &[FlightData]| {
        let mut decoder = Decoder::default();
        messages.iter().find_map(|message| decoder.decode(message).err()).map(|error| error.to_string())
    };
    assert_eq!(sent.len(), 5, "schema, dictionary, rows and two signals");
    assert_eq!(refused_at(&sent), None);
    let changed = |change: fn(&mut FlightData), place: usize| {
        let mut messages = sent.clone();
        change(&mut messages[place]);
        messages
    };
    for (messages, place) in [
        ([&sent[..3], &sent[4..]].concat(), 3),
        ([&sent[..4], &sent[3..]].concat(), 4),
        ([&sent[..3], &sent[4..], &sent[3..4]].concat(), 3),
        (changed(|message| message.data_body = bytes::Bytes::new(), 2), 2),
        (changed(|message| message.app_metadata.truncate(7), 1), 1),
        (changed(|message| message.app_metadata = bytes::Bytes::from_static(b"\"Idle\""), 3), 3),
    ] {
        let refused = refused_at(&messages).unwrap();
        assert!(refused.starts_with(&format!("message {place} of the channel is not the one")), "{refused}");
    }
}

fn id(channel: usize) -> ChannelId {
    ChannelId { attempt: Attempt(4), run: Run(7), task: 1, subtask: SubtaskIndex(2), channel }
}

/// A channel from this process to this process, by way of the network.
fn channel(post: &Post, peer: SocketAddr, security: &Security, sender: Sender, channel: usize) -> Sender {
    post.expect(id(channel), Inbox { sender, broken: Box::new(|cause| panic!("{cause}")) });
    let (sender, outbox) = outbox();
    let mut leaving =
        Leaving { id: id(channel), peer: peer.to_string(), outbox, compression: ExchangeCompression::None };
    let connection = connection(&leaving.peer, security).unwrap();
    tokio::spawn(async move { leaving.carry(connection).await.unwrap() });
    sender
}

async fn listen(security: &Security) -> (Post, SocketAddr) {
    let post = Post::default();
    let peer = post.serve("127.0.0.1:0".parse().unwrap(), security).await.unwrap();
    (post, peer)
}

async fn rows(gate: &mut Gate) -> Vec<i64> {
    let mut rows = Vec::new();
    loop {
        match gate.next().await.expect("an end") {
            Delivery::Element(Element::Batch(batch)) => {
                rows.extend(batch.column(0).as_primitive::<Int64Type>().values());
            }
            Delivery::End => return rows,
            _ => {}
        }
    }
}

#[tokio::test]
async fn rows_arrive_whole_and_in_order() {
    exchange(&Security::Plain).await;
}

#[tokio::test]
async fn rows_arrive_by_tls() {
    let job = Authority::new();
    exchange(&job.process()).await;
}

async fn exchange(security: &Security) {
    let (post, peer) = listen(security).await;
    let (mut senders, mut gate) = channels(1, true);
    let sender = channel(&post, peer, security, senders.remove(0), 0);
    tokio::spawn(async move {
        for part in 0..200 {
            sender.send(Element::Batch(batch(part * 500, 500))).await.unwrap();
            sender.send(barrier(part as u64)).await.unwrap();
        }
        sender.send(Element::End).await.unwrap();
    });
    assert_eq!(rows(&mut gate).await, (0..100_000).collect::<Vec<_>>());
}

#[tokio::test]
async fn a_channel_that_is_held_makes_its_own_sender_wait_and_no_other() {
    let (post, peer) = listen(&Security::Plain).await;
    let (mut held, mut read) = (channels(1, true), channels(1, true));
    let slow = channel(&post, peer, &Security::Plain, held.0.remove(0), 0);
    let fast = channel(&post, peer, &Security::Plain, read.0.remove(0), 1);
    let (progress, mut sent) = unbounded_channel();
    tokio::spawn(async move {
        // 64 MB: more than all queues and windows on the way.
        for part in 0..1600 {
            slow.send(Element::Batch(batch(part * 1000, 1000))).await.unwrap();
            progress.send(part).unwrap();
        }
        slow.send(Element::End).await.unwrap();
    });
    // Until nothing moves any more.
    while env::within(Duration::from_millis(500), sent.recv()).await.flatten().is_some() {}
    tokio::spawn(async move {
        for part in 0..300 {
            fast.send(Element::Batch(batch(part * 1000, 1000))).await.unwrap();
        }
        fast.send(Element::End).await.unwrap();
    });
    assert_eq!(rows(&mut read.1).await.len(), 300_000);
    assert!(!sent.is_closed(), "the held channel's sender waits");
    assert_eq!(rows(&mut held.1).await.len(), 1_600_000);
}

#[tokio::test]
async fn a_barrier_overtakes_what_is_on_its_way_between_two_workers() {
    let (post, peer) = listen(&Security::Plain).await;
    let (mut senders, mut gate) = channels(1, true);
    let sender = channel(&post, peer, &Security::Plain, senders.remove(0), 0);
    // Until neither end nor the network takes any more.
    let mut sent = 0;
    while env::within(Duration::from_millis(300), sender.send(Element::Batch(batch(sent * 1000, 1000)))).await.is_some()
    {
        sent += 1;
    }
    gate.urge().overtake(Epoch(1));
    let Some(Delivery::Barrier { in_flight: Some(in_flight), .. }) = gate.next().await else { panic!("no barrier") };
    sender.push(barrier(1)).unwrap();
    sender.push(Element::End).unwrap();
    // Nobody takes anything from the gate meanwhile.
    let caught = env::within(Duration::from_secs(20), in_flight.caught()).await.flatten().expect("all markers");
    let numbers = |rows: &RecordBatch| rows.column(0).as_primitive::<Int64Type>().values().to_vec();
    let all: Vec<i64> = (0..sent * 1000).collect();
    assert_eq!(caught.iter().flat_map(|caught| numbers(&caught.rows)).collect::<Vec<_>>(), all);
    assert_eq!(rows(&mut gate).await, all);
}

#[tokio::test]
async fn a_stream_that_ends_too_early_is_told() {
    let (post, peer) = listen(&Security::Plain).await;
    let (mut senders, _gate) = channels(1, true);
    let (told, mut broken) = unbounded_channel();
    let inbox = Inbox { sender: senders.remove(0), broken: Box::new(move |cause| told.send(cause).unwrap()) };
    post.expect(id(0), inbox);
    let (sender, outbox) = outbox();
    let mut leaving = Leaving { id: id(0), peer: peer.to_string(), outbox, compression: ExchangeCompression::None };
    sender.send(Element::Batch(batch(0, 1))).await.unwrap();
    drop(sender);
    let carried = leaving.carry(connection(&peer.to_string(), &Security::Plain).unwrap()).await;
    assert!(matches!(carried, Err(ChannelError::Broken { .. })), "{carried:?}");
    assert!(matches!(broken.recv().await.unwrap(), ChannelError::Interrupted { .. }));
}

async fn refusal(peer: String, security: &Security) -> String {
    let (_sender, outbox) = outbox();
    let connection = connection(&peer, security).unwrap();
    Leaving { id: id(0), peer, outbox, compression: ExchangeCompression::None }
        .carry(connection)
        .await
        .unwrap_err()
        .to_string()
}

#[tokio::test]
async fn who_is_not_expected_or_not_there_is_told() {
    let (post, peer) = listen(&Security::Plain).await;
    let (mut senders, _gate) = channels(1, true);
    post.expect(id(0), Inbox { sender: senders.remove(0), broken: Box::new(|_| {}) });
    post.forget(Attempt(4));
    let unknown = refusal(peer.to_string(), &Security::Plain).await;
    assert!(unknown.contains("is not expected here"), "{unknown}");
    let nobody = refusal("127.0.0.1:1".into(), &Security::Plain).await;
    assert!(nobody.contains("can't be reached") && nobody.contains("refused"), "{nobody}");
}

#[tokio::test]
async fn who_belongs_to_a_run_that_has_ended_is_not_let_into_the_next() {
    let (post, peer) = listen(&Security::Plain).await;
    let (mut senders, _gate) = channels(2, true);
    let next = ChannelId { run: Run(8), ..id(0) };
    for of in [id(0), next] {
        post.expect(of, Inbox { sender: senders.remove(0), broken: Box::new(|_| {}) });
    }
    post.forget_run(Attempt(4), Run(7));
    let late = refusal(peer.to_string(), &Security::Plain).await;
    assert!(late.contains("run 7 is not expected here"), "{late}");
    let (sender, outbox) = outbox();
    sender.push(Element::End).unwrap();
    let connection = connection(&peer.to_string(), &Security::Plain).unwrap();
    Leaving { id: next, peer: peer.to_string(), outbox, compression: ExchangeCompression::None }
        .carry(connection)
        .await
        .expect("the next run's is let in");
}

/// A job's own.
struct Authority {
    key: KeyPair,
    parameters: CertificateParams,
}

impl Authority {
    fn new() -> Self {
        let mut parameters = CertificateParams::default();
        parameters.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        Self { key: KeyPair::generate().unwrap(), parameters }
    }

    fn process(&self) -> Security {
        let folder = tempfile::tempdir().unwrap();
        let write = |name: &str, text: String| std::fs::write(folder.path().join(name), text).unwrap();
        write("ca.crt", self.parameters.self_signed(&self.key).unwrap().pem());
        let key = KeyPair::generate().unwrap();
        let own = CertificateParams::new([tls::NAME.to_owned()]).unwrap();
        write("tls.crt", own.signed_by(&key, &Issuer::from_params(&self.parameters, &self.key)).unwrap().pem());
        write("tls.key", key.serialize_pem());
        Security::read(Some(folder.path()), false, "0.0.0.0:1".parse().unwrap()).unwrap()
    }
}

#[tokio::test]
async fn who_is_not_of_the_job_is_not_let_in() {
    let job = Authority::new();
    let (_post, peer) = listen(&job.process()).await;
    for stranger in [Security::Plain, Authority::new().process()] {
        let refused = refusal(peer.to_string(), &stranger).await;
        assert!(refused.contains("can't be reached"), "{refused}");
    }
    let member = refusal(peer.to_string(), &job.process()).await;
    assert!(member.contains("is not expected here"), "{member}");
}

#[test]
fn a_port_that_others_reach_is_not_open_by_mistake() {
    let read = |folder, plain, listen: &str| Security::read(folder, plain, listen.parse().unwrap());
    assert!(matches!(read(None, false, "127.0.0.1:1"), Ok(Security::Plain)));
    assert!(matches!(read(None, true, "0.0.0.0:1"), Ok(Security::Plain)));
    let open = read(None, false, "0.0.0.0:1").unwrap_err().to_string();
    assert!(open.contains("add --tls, or --plain"), "{open}");
    let empty = tempfile::tempdir().unwrap();
    let missing = read(Some(empty.path()), false, "0.0.0.0:1").unwrap_err().to_string();
    assert!(missing.contains("ca.crt"), "{missing}");
}
