use tidegate::sink::{
    DirectSink as _, DirectWriter, SinkError,
    kafka::{KafkaDirectSink, KafkaWriter},
};
use tidegate_crds::{Delivery, KafkaSink};

use super::{
    broker::{PATIENCE, committed, eventually, topic},
    publisher::{rows, schema, spec},
};

async fn flush(writer: &mut KafkaWriter) -> Result<(), SinkError> {
    tokio::time::timeout(PATIENCE, writer.flush()).await.expect("flush hangs")
}

#[tokio::test]
async fn at_least_once_has_delivered_all_rows_when_a_flush_ends() {
    let topic = topic("at-least-once", 2, &[]).await;
    let spec = spec(&topic).await;
    KafkaDirectSink::new("out", &spec, Delivery::AtLeastOnce).preflight(&schema()).await.unwrap();
    let mut writer = KafkaWriter::new("out", &spec, Delivery::AtLeastOnce).unwrap();
    flush(&mut writer).await.unwrap();
    let mut sent = 0;
    for round in 1..4 {
        for _ in 0..3 {
            writer.write(&rows(0..7000)).unwrap();
            sent += 7000;
        }
        flush(&mut writer).await.unwrap();
        assert_eq!(committed(&topic, 2).await.len(), sent, "round {round}");
    }
}

#[tokio::test]
async fn none_waits_for_nothing_and_still_arrives() {
    let topic = topic("none", 1, &[]).await;
    let mut writer = KafkaWriter::new("out", &spec(&topic).await, Delivery::None).unwrap();
    writer.write(&rows(0..500)).unwrap();
    flush(&mut writer).await.unwrap();
    drop(writer);
    eventually("all rows are there", || async { committed(&topic, 1).await.len() == 500 }).await;
}

#[tokio::test]
async fn a_row_that_could_not_be_delivered_fails_the_flush_and_all_that_follows() {
    let topic = topic("sticky", 1, &[("max.message.bytes", "100")]).await;
    for delivery in [Delivery::AtLeastOnce, Delivery::None] {
        let mut writer = KafkaWriter::new("out", &spec(&topic).await, delivery).unwrap();
        writer.write(&rows(0..500)).unwrap();
        if delivery == Delivery::AtLeastOnce {
            for _ in 0..2 {
                let error = flush(&mut writer).await.unwrap_err();
                assert!(error.to_string().contains("deliver a record"), "{error}");
            }
        }
        let mut refused = None;
        eventually("the error shows", || {
            refused = writer.write(&rows(0..1)).err();
            std::future::ready(refused.is_some())
        })
        .await;
        assert!(refused.unwrap().to_string().contains("deliver a record"));
    }
}

#[tokio::test]
async fn other_deliveries_are_not_for_a_writer() {
    let spec = KafkaSink { topic: "any".into(), ..spec("any").await };
    assert!(KafkaWriter::new("out", &spec, Delivery::ExactlyOnce).is_err());
}
