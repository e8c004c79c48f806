//! What a client's words mean for the job. No I/O.

use rdkafka::error::RDKafkaErrorCode;

use super::Ailment;

#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Meaning {
    EndOfPartition,
    /// librdkafka tries again by itself.
    Passing,
    /// The place to read from is not there any more.
    Lost,
    /// Reading does not go on.
    Final,
}

/// What an error between the records of a partition means. What is not known to pass is final: going on after an unknown
/// error could leave records out.
pub(crate) fn meaning(code: RDKafkaErrorCode) -> Meaning {
    use RDKafkaErrorCode as Code;
    match code {
        Code::PartitionEOF => Meaning::EndOfPartition,
        Code::AutoOffsetReset | Code::OffsetOutOfRange | Code::LogTruncation => Meaning::Lost,
        Code::AllBrokersDown
        | Code::BrokerTransportFailure
        | Code::OperationTimedOut
        | Code::RequestTimedOut
        | Code::Resolve
        | Code::NetworkException
        | Code::LeaderNotAvailable
        | Code::NotLeaderForPartition
        | Code::ReplicaNotAvailable
        | Code::BrokerNotAvailable
        | Code::KafkaStorageError
        | Code::FencedLeaderEpoch
        | Code::UnknownLeaderEpoch
        | Code::OffsetNotAvailable
        | Code::CoordinatorNotAvailable
        | Code::CoordinatorLoadInProgress
        | Code::NotCoordinator
        // The group is for lag monitors only.
        | Code::GroupAuthorizationFailed => Meaning::Passing,
        _ => Meaning::Final,
    }
}

/// Whether an error of the client as a whole ends the reading.
pub(crate) fn is_final(ailment: &Ailment) -> bool {
    ailment.is_refusal() || ailment.code == RDKafkaErrorCode::Fatal
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_is_known_to_pass_is_passed_over() {
        for (code, expected) in [
            (RDKafkaErrorCode::PartitionEOF, Meaning::EndOfPartition),
            (RDKafkaErrorCode::BrokerTransportFailure, Meaning::Passing),
            (RDKafkaErrorCode::AutoOffsetReset, Meaning::Lost),
            (RDKafkaErrorCode::TopicAuthorizationFailed, Meaning::Final),
            (RDKafkaErrorCode::UnknownTopicOrPartition, Meaning::Final),
            (RDKafkaErrorCode::BadMessage, Meaning::Final),
            (RDKafkaErrorCode::Unknown, Meaning::Final),
        ] {
            assert_eq!(meaning(code), expected, "{code:?}");
        }
    }
}
