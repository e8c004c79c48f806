//! Which topic it is that has a name: its id, which a topic keeps for its life and no other gets (KIP-516).
//!
//! rdkafka does not ask for ids; librdkafka's `rd_kafka_DescribeTopics` does. This module is that call, and unsafe code.
//!
//! # Why it is sound
//!
//! - **The client** is borrowed for the whole call and owns the `rd_kafka_t`; admin calls are allowed on any client, from
//!   any thread.
//! - **The request.** The name outlives the call that makes the collection, which copies it; the collection outlives the
//!   call that begins the request, which copies it. Both calls return before anything is given back.
//! - **The queue** is ours, gets the one answer, and is given back after the wait; an answer that comes later goes with it.
//! - **The answer** is an event that we own until it is given back; topics, ids and errors lie in it, are read before
//!   that, and ids are copied. The array has `count` pointers, none of them null.
#![allow(unsafe_code)] // the one module that asks for ids; see above

use std::{
    ffi::{CStr, CString, c_int},
    ptr::{self, NonNull},
    time::Duration,
};

use rdkafka::{
    ClientContext, bindings as rd,
    client::Client,
    error::{KafkaError, KafkaResult, RDKafkaErrorCode},
    types::RDKafkaRespErr,
};

/// librdkafka asks the broker that the others name as controller, and waits for it; some that only speak Kafka's protocol
/// name none.
const TIMEOUT: Duration = Duration::from_secs(5);

/// The topic's id, as Kafka's tools print it; `None` from brokers that have no ids (before Kafka 2.8), or do not answer in
/// time. Blocks.
pub(crate) fn topic_id<C: ClientContext>(client: &Client<C>, topic: &str) -> KafkaResult<Option<String>> {
    let name = CString::new(topic).map_err(|_| KafkaError::AdminOp(RDKafkaErrorCode::InvalidTopic))?;
    let timeout = c_int::try_from(TIMEOUT.as_millis()).unwrap_or(c_int::MAX);
    let mut names = [name.as_ptr()];
    // SAFETY: as the module says: `names` has one NUL-terminated text; client, collection and queue are live.
    let event = unsafe {
        let queue = rd::rd_kafka_queue_new(client.native_ptr());
        let topics = rd::rd_kafka_TopicCollection_of_topic_names(names.as_mut_ptr(), names.len());
        rd::rd_kafka_DescribeTopics(client.native_ptr(), topics, ptr::null(), queue);
        rd::rd_kafka_TopicCollection_destroy(topics);
        let event = rd::rd_kafka_queue_poll(queue, timeout);
        rd::rd_kafka_queue_destroy(queue);
        event
    };
    let Some(event) = NonNull::new(event) else { return Ok(None) };
    // SAFETY: the event is live and ours.
    let found = unsafe { id_in(event) };
    // SAFETY: the event is ours, nothing of it is kept, and it is given back here only.
    unsafe { rd::rd_kafka_event_destroy(event.as_ptr()) };
    match found {
        Err(RDKafkaRespErr::RD_KAFKA_RESP_ERR__UNSUPPORTED_FEATURE | RDKafkaRespErr::RD_KAFKA_RESP_ERR__TIMED_OUT) => {
            Ok(None)
        }
        found => found.map_err(|error| KafkaError::AdminOp(error.into())),
    }
}

/// # Safety
/// `event` is a live event.
unsafe fn id_in(event: NonNull<rd::rd_kafka_event_t>) -> Result<Option<String>, RDKafkaRespErr> {
    // SAFETY: as the caller says; what is asked for lies in the event, and pointers are looked at before they are followed.
    unsafe {
        accepted(rd::rd_kafka_event_error(event.as_ptr()))?;
        let result = rd::rd_kafka_event_DescribeTopics_result(event.as_ptr());
        if result.is_null() {
            return Err(RDKafkaRespErr::RD_KAFKA_RESP_ERR__BAD_MSG);
        }
        let mut count = 0;
        let topics = rd::rd_kafka_DescribeTopics_result_topics(result, &raw mut count);
        if count == 0 || topics.is_null() {
            return Err(RDKafkaRespErr::RD_KAFKA_RESP_ERR__BAD_MSG);
        }
        let topic = *topics;
        if let Some(error) = rd::rd_kafka_TopicDescription_error(topic).as_ref() {
            accepted(rd::rd_kafka_error_code(error))?;
        }
        let id = rd::rd_kafka_TopicDescription_topic_id(topic);
        let is_none = id.is_null()
            || rd::rd_kafka_Uuid_most_significant_bits(id) == 0 && rd::rd_kafka_Uuid_least_significant_bits(id) == 0;
        if is_none {
            return Ok(None);
        }
        let text = rd::rd_kafka_Uuid_base64str(id);
        Ok((!text.is_null()).then(|| CStr::from_ptr(text).to_string_lossy().into_owned()))
    }
}

fn accepted(code: RDKafkaRespErr) -> Result<(), RDKafkaRespErr> {
    match code {
        RDKafkaRespErr::RD_KAFKA_RESP_ERR_NO_ERROR => Ok(()),
        error => Err(error),
    }
}
