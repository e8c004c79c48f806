//! Thousands of messages with one call, their bytes left where librdkafka put them.
//!
//! rdkafka hands out one message a call; at millions of records a second that call is most of the cost. librdkafka
//! itself has `rd_kafka_consume_batch_queue`, which fills an array of message pointers. This module is that call and
//! what it needs; it is the only one of the source with unsafe code.
//!
//! # Why it is sound
//!
//! - **The client.** [`Client`] owns the `rd_kafka_t` and is documented as usable from any thread. It is made with a
//!   pointer to its [`Context`] as "opaque"; the client holds that `Arc` and drops the `rd_kafka_t` before it (field
//!   order of `Client`), and `rd_kafka_destroy` joins all threads of librdkafka, so each callback sees a live context.
//!   Callbacks touch nothing but locks, a `Notify` and the log, and let no panic out: there is nothing in them that
//!   panics, and `extern "C"` would abort rather than unwind.
//! - **The queue.** `rd_kafka_queue_get_consumer` returns a counted reference, given back by `rd_kafka_queue_destroy` in
//!   [`BatchConsumer`]'s drop, before the client goes. The event callback is taken off first, under the queue's own
//!   lock, so none runs later.
//! - **Messages.** Each pointer that the batch call writes is a message that we own and that must be given back once, by
//!   `rd_kafka_message_destroy`; [`Message`] does so in its drop, can't be copied, and is made nowhere else. Payload and
//!   offset belong to the message and stay unchanged until then, so slices borrow from it. Destroying from another
//!   thread is allowed: reference counts in librdkafka are atomic.
//! - **Messages before the client.** Messages point into memory of the client. [`Messages`] holds the consumer by `Arc`
//!   and drops its messages before that `Arc` (field order), so the client outlives them.
//! - **The array.** The call gets a vector's spare capacity and its length, and returns how many pointers it wrote, at
//!   most that many and none of them null; the length is set to that. [`Message`] is `repr(transparent)` over the
//!   pointer. What librdkafka takes back again (messages outdated by a new assignment) it removes from the array before
//!   it returns.
//! - **Error codes** are read as integers and converted with a check, since a C enum may hold a number that Rust's does
//!   not know.
#![allow(unsafe_code)] // the one module of the source that speaks to librdkafka directly; see above

use std::{
    collections::BTreeMap,
    ffi::{CStr, c_char, c_int, c_void},
    ptr::{self, NonNull},
    sync::Arc,
    time::Duration,
};

use rdkafka::{
    ClientConfig, ClientContext, TopicPartitionList, bindings as rd,
    client::Client,
    config::RDKafkaLogLevel,
    error::{KafkaError, KafkaResult, RDKafkaErrorCode},
    types::{RDKafkaQueue, RDKafkaRespErr, RDKafkaType},
};
use tokio::sync::Notify;

use crate::{env, kafka::Watch};

/// What the callbacks of a consumer may touch.
#[derive(Debug, Default)]
pub(super) struct Context {
    pub(super) watch: Watch,
    /// Told when the queue is no longer empty; keeps one permit, so no wake-up is lost between a look and a wait.
    pub(super) wake: Notify,
}

impl ClientContext for Context {
    fn log(&self, level: RDKafkaLogLevel, facility: &str, message: &str) {
        crate::kafka::log(level, facility, message);
    }
}

/// A consumer whose messages are taken in batches; partitions are assigned by hand.
pub(super) struct BatchConsumer {
    /// Taken out in drop only.
    client: Option<Client<Context>>,
    queue: NonNull<RDKafkaQueue>,
}

// SAFETY: librdkafka's queues are thread safe; see `NativeQueue` in rdkafka, which says the same.
unsafe impl Send for BatchConsumer {}
// SAFETY: as above.
unsafe impl Sync for BatchConsumer {}

impl BatchConsumer {
    /// `config` needs a `group.id`, which manual assignment wants as well.
    pub(super) fn new(config: &ClientConfig) -> KafkaResult<Arc<Self>> {
        let native = config.create_native_config()?;
        // SAFETY: the configuration is live and ours until `Client::new` takes it; the callbacks have the C signatures.
        unsafe {
            rd::rd_kafka_conf_set_log_cb(native.ptr(), Some(on_log));
            rd::rd_kafka_conf_set_error_cb(native.ptr(), Some(on_error));
            rd::rd_kafka_conf_set_offset_commit_cb(native.ptr(), Some(on_commit));
        }
        let client = Client::new(config, native, RDKafkaType::RD_KAFKA_CONSUMER, Context::default())?;
        let handle = client.native_ptr();
        // SAFETY: the client is live. Redirects logs, errors and commit answers to the consumer's queue, so that taking
        // messages serves them too.
        unsafe { rd::rd_kafka_poll_set_consumer(handle) };
        // SAFETY: the client is live; the reference is given back in drop.
        let queue = NonNull::new(unsafe { rd::rd_kafka_queue_get_consumer(handle) })
            .ok_or_else(|| KafkaError::ClientCreation("the consumer has no queue, `group.id` is missing".into()))?;
        let wake: *const Notify = &raw const client.context().wake;
        // SAFETY: queue and context live until drop, which takes the callback off first.
        unsafe { rd::rd_kafka_queue_cb_event_enable(queue.as_ptr(), Some(on_event), wake.cast_mut().cast()) };
        Ok(Arc::new(Self { client: Some(client), queue }))
    }

    /// For questions that need no batch: metadata, watermarks, what ails the client. `None` only while being dropped.
    pub(super) fn client(&self) -> Option<&Client<Context>> {
        self.client.as_ref()
    }

    /// Adds partitions with the offsets they begin at. `epochs` has, by partition, the leader epoch of the record before:
    /// a partition that did not have that record there is reported as lost.
    pub(super) fn assign(&self, partitions: &TopicPartitionList, epochs: &BTreeMap<i32, i32>) -> KafkaResult<()> {
        let Some(client) = self.client() else { return Err(KafkaError::Canceled) };
        // SAFETY: the list is live, has `cnt` elements, and nobody else looks at it meanwhile.
        unsafe {
            let list = partitions.ptr();
            for index in 0..usize::try_from((*list).cnt).unwrap_or(0) {
                let element = (*list).elems.add(index);
                if let Some(epoch) = epochs.get(&(*element).partition) {
                    rd::rd_kafka_topic_partition_set_leader_epoch(element, *epoch);
                }
            }
        }
        // SAFETY: client and list are live; the list is copied by the call.
        let error = unsafe { rd::rd_kafka_incremental_assign(client.native_ptr(), partitions.ptr()) };
        let Some(error) = NonNull::new(error) else { return Ok(()) };
        // SAFETY: a non-null answer is an error that we own; its text is copied before it is given back.
        let text = unsafe {
            let text = text_of(rd::rd_kafka_error_string(error.as_ptr()));
            rd::rd_kafka_error_destroy(error.as_ptr());
            text
        };
        Err(KafkaError::Subscription(text))
    }

    /// Asks the brokers for the offsets that the list's stand for, such as [`rdkafka::Offset::End`], and puts them in
    /// their place; one request a broker. Blocks.
    pub(super) fn look_up(&self, list: &mut TopicPartitionList, timeout: Duration) -> KafkaResult<()> {
        let Some(client) = self.client() else { return Err(KafkaError::Canceled) };
        let timeout = c_int::try_from(timeout.as_millis()).unwrap_or(c_int::MAX);
        // SAFETY: client and list are live; the call waits for its answers and writes to the list, which is ours alone.
        match unsafe { rd::rd_kafka_offsets_for_times(client.native_ptr(), list.ptr(), timeout) } {
            RDKafkaRespErr::RD_KAFKA_RESP_ERR_NO_ERROR => Ok(()),
            error => Err(KafkaError::OffsetFetch(error.into())),
        }
    }

    /// Reads these partitions no more, and says nothing of it.
    #[cfg(test)]
    pub(super) fn pause(&self, partitions: &TopicPartitionList) -> KafkaResult<()> {
        let Some(client) = self.client() else { return Err(KafkaError::Canceled) };
        // SAFETY: client and list are live; the call marks each element with its outcome, and the list is copied.
        match unsafe { rd::rd_kafka_pause_partitions(client.native_ptr(), partitions.ptr()) } {
            RDKafkaRespErr::RD_KAFKA_RESP_ERR_NO_ERROR => Ok(()),
            error => Err(KafkaError::PauseResume(RDKafkaErrorCode::from(error).to_string())),
        }
    }

    /// Sends offsets to the group and does not wait; a failure is logged when the answer comes.
    pub(super) fn commit(&self, offsets: &TopicPartitionList) -> KafkaResult<()> {
        let Some(client) = self.client() else { return Err(KafkaError::Canceled) };
        // SAFETY: client and list are live; the list is copied by the call.
        match unsafe { rd::rd_kafka_commit(client.native_ptr(), offsets.ptr(), 1) } {
            RDKafkaRespErr::RD_KAFKA_RESP_ERR_NO_ERROR => Ok(()),
            error => Err(KafkaError::ConsumerCommit(error.into())),
        }
    }
}

impl Drop for BatchConsumer {
    fn drop(&mut self) {
        // SAFETY: the queue is ours until the second call, and the client is still live.
        unsafe {
            rd::rd_kafka_queue_cb_event_enable(self.queue.as_ptr(), None, ptr::null_mut());
            rd::rd_kafka_queue_destroy(self.queue.as_ptr());
        }
        // Destroying a client waits for its threads: not on a task's thread.
        let client = self.client.take();
        if let Err(error) = env::spawn_thread("kafka-close", move || drop(client)) {
            tracing::warn!(%error, "failed to start a thread to close a Kafka client; it was closed in place");
        }
    }
}

/// A message of librdkafka, owned.
#[repr(transparent)]
struct Message(NonNull<rd::rd_kafka_message_t>);

// SAFETY: nothing of a message is bound to a thread; see the module's documentation.
unsafe impl Send for Message {}

impl Drop for Message {
    fn drop(&mut self) {
        // SAFETY: we own the message, and it is given back here only.
        unsafe { rd::rd_kafka_message_destroy(self.0.as_ptr()) };
    }
}

/// What a taken message is.
pub(super) enum Taken {
    Record {
        partition: i32,
        offset: i64,
        bytes: usize,
    },
    /// Not a record but something the client has to say of a partition, or of itself.
    Event {
        code: RDKafkaErrorCode,
        partition: i32,
        offset: i64,
        text: String,
    },
}

/// Messages in the order they were taken.
pub(super) struct Messages {
    // Before the consumer: see the module's documentation.
    messages: Vec<Message>,
    consumer: Arc<BatchConsumer>,
}

impl Messages {
    pub(super) fn new(consumer: Arc<BatchConsumer>, capacity: usize) -> Self {
        Self { messages: Vec::with_capacity(capacity), consumer }
    }

    pub(super) fn len(&self) -> usize {
        self.messages.len()
    }

    /// Takes up to `most` messages that wait in the queue, without waiting itself, and serves the client's callbacks.
    pub(super) fn take(&mut self, most: usize) {
        self.messages.reserve(most);
        let length = self.messages.len();
        let spare = self.messages.spare_capacity_mut();
        let room = spare.len().min(most);
        // SAFETY: `room` slots are writable, `Message` has the layout of the pointer, the queue is live.
        let count = unsafe {
            rd::rd_kafka_consume_batch_queue(self.consumer.queue.as_ptr(), 0, spare.as_mut_ptr().cast(), room)
        };
        // The call has no other failure than -1, for a timeout on some queues.
        let count = usize::try_from(count).unwrap_or(0).min(room);
        // SAFETY: the call has written `count` valid pointers behind the old length.
        unsafe { self.messages.set_len(length + count) };
    }

    /// The message at `index`; `None` past the end.
    #[inline]
    pub(super) fn get(&self, index: usize) -> Option<Taken> {
        // SAFETY: the message is live as long as `self`.
        let message = unsafe { self.messages.get(index)?.0.as_ref() };
        // SAFETY: the field is an `int` in C and initialised.
        let code = unsafe { (&raw const message.err).cast::<c_int>().read() };
        let (partition, offset) = (message.partition, message.offset);
        if code == 0 {
            return Some(Taken::Record { partition, offset, bytes: message.len });
        }
        // SAFETY: in a message that is an error, the payload is a NUL-terminated text or null.
        let text = unsafe { text_of(message.payload.cast()) };
        Some(Taken::Event { code: code_of(code), partition, offset, text })
    }

    /// Bytes of the record at `index`; `None` without a value.
    #[inline]
    pub(super) fn payload(&self, index: usize) -> Option<&[u8]> {
        // SAFETY: the message is live as long as `self`.
        let message = unsafe { self.messages.get(index)?.0.as_ref() };
        if message.payload.is_null() {
            return None;
        }
        // SAFETY: the payload is `len` bytes, unchanged until the message is destroyed, and we borrow from `self`.
        Some(unsafe { std::slice::from_raw_parts(message.payload.cast::<u8>(), message.len) })
    }

    #[inline]
    pub(super) fn offset(&self, index: usize) -> Option<u64> {
        // SAFETY: the message is live as long as `self`.
        let message = unsafe { self.messages.get(index)?.0.as_ref() };
        u64::try_from(message.offset).ok()
    }

    /// Epoch of the leader that took the record at `index` in; `None` from old brokers.
    pub(super) fn leader_epoch(&self, index: usize) -> Option<i32> {
        let message = self.messages.get(index)?.0;
        // SAFETY: the message is live as long as `self`.
        let epoch = unsafe { rd::rd_kafka_message_leader_epoch(message.as_ptr()) };
        (epoch >= 0).then_some(epoch)
    }

    /// Puts the message at `index` where `kept` ends; with [`Messages::truncate`] this leaves those that are kept.
    #[inline]
    pub(super) fn keep(&mut self, kept: usize, index: usize) {
        if kept != index {
            self.messages.swap(kept, index);
        }
    }

    pub(super) fn truncate(&mut self, length: usize) {
        self.messages.truncate(length);
    }
}

fn code_of(code: c_int) -> RDKafkaErrorCode {
    RDKafkaRespErr::try_from(code).map_or(RDKafkaErrorCode::Unknown, RDKafkaErrorCode::from)
}

/// # Safety
/// `text` is null or a NUL-terminated text.
unsafe fn text_of(text: *const c_char) -> String {
    if text.is_null() {
        return String::new();
    }
    // SAFETY: as the caller says.
    unsafe { CStr::from_ptr(text) }.to_string_lossy().into_owned()
}

/// Runs on a thread of librdkafka.
unsafe extern "C" fn on_event(_: *mut rd::rd_kafka_t, wake: *mut c_void) {
    // SAFETY: `wake` is the context's `Notify`, live while the callback is set.
    unsafe { &*wake.cast::<Notify>() }.notify_one();
}

unsafe extern "C" fn on_error(_: *mut rd::rd_kafka_t, code: c_int, reason: *const c_char, opaque: *mut c_void) {
    // SAFETY: the opaque of this client is its context; the reason is a text.
    let (context, reason) = unsafe { (&*opaque.cast::<Context>(), text_of(reason)) };
    context.watch.saw(code_of(code), &reason);
}

unsafe extern "C" fn on_log(_: *const rd::rd_kafka_t, level: c_int, facility: *const c_char, text: *const c_char) {
    // SAFETY: both are texts.
    let (facility, text) = unsafe { (text_of(facility), text_of(text)) };
    let level = match level {
        ..=2 => RDKafkaLogLevel::Critical,
        3 => RDKafkaLogLevel::Error,
        4 => RDKafkaLogLevel::Warning,
        5 | 6 => RDKafkaLogLevel::Info,
        _ => RDKafkaLogLevel::Debug,
    };
    crate::kafka::log(level, &facility, &text);
}

unsafe extern "C" fn on_commit(
    _: *mut rd::rd_kafka_t,
    code: RDKafkaRespErr,
    _: *mut rd::rd_kafka_topic_partition_list_t,
    _: *mut c_void,
) {
    if code != RDKafkaRespErr::RD_KAFKA_RESP_ERR_NO_ERROR {
        tracing::warn!(error = %RDKafkaErrorCode::from(code), "failed to commit offsets to the group; only lag monitors use them");
    }
}
