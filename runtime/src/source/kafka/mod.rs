//! Topics of an Apache Kafka cluster.
