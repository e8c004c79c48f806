//! From the document's words to the settings of a client.

use std::collections::BTreeMap;

use rdkafka::{
    ClientConfig,
    client::ClientContext,
    config::{FromClientConfigAndContext, RDKafkaLogLevel},
    error::KafkaError,
};
use tidegate_crds::{KafkaSecurity, SecretRef};

use super::{Trouble, Watch};
use crate::job::secrets;

/// Of every client, unless the document says otherwise: a broker that is back is found within a second.
const DEFAULTS: [(&str, &str); 1] = [("reconnect.backoff.max.ms", "1000")];

/// Path of a part of the document, for messages: `source `orders`: kafka`.
pub(crate) type FieldPath<'a> = &'a str;

/// A Kafka cluster as the document names it, with its secrets looked up.
#[derive(Clone)]
pub(crate) struct Cluster {
    pub(crate) brokers: String,
    /// Settings that the document says: addresses, security, the user's properties.
    said: BTreeMap<String, String>,
}

/// Names no secret.
impl std::fmt::Debug for Cluster {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Cluster").field("brokers", &self.brokers).finish_non_exhaustive()
    }
}

impl Cluster {
    /// Refused: a missing secret, a property that librdkafka does not know or whose value it does not take.
    pub(crate) fn new(
        path: FieldPath<'_>,
        brokers: &str,
        security: Option<&KafkaSecurity>,
        properties: &BTreeMap<String, String>,
    ) -> Result<Self, Trouble> {
        let mut said = properties.clone();
        said.insert("bootstrap.servers".into(), brokers.into());
        if let Some(security) = security {
            secure(path, security, &mut said)?;
        }
        let cluster = Self { brokers: brokers.into(), said };
        cluster
            .client(&[], &[])
            .create_native_config()
            .map_err(|error| Trouble::Refused(wrong_property(path, &error)))?;
        Ok(cluster)
    }

    /// Settings of one client: `defaults`, then what the document says, then `fixed`.
    pub(crate) fn client(&self, defaults: &[(&str, &str)], fixed: &[(&str, &str)]) -> ClientConfig {
        let mut config = ClientConfig::new();
        config.set_log_level(RDKafkaLogLevel::Notice);
        config.set("client.id", "tidegate");
        for (name, value) in DEFAULTS.iter().chain(defaults) {
            config.set(*name, *value);
        }
        for (name, value) in &self.said {
            config.set(name, value);
        }
        for (name, value) in fixed {
            config.set(*name, *value);
        }
        config
    }

    /// A client of its own with a [`Watch`].
    pub(crate) fn connect<T>(&self, defaults: &[(&str, &str)], fixed: &[(&str, &str)]) -> Result<T, Trouble>
    where
        T: FromClientConfigAndContext<Watch>,
    {
        self.connect_with(defaults, fixed, Watch::default())
    }

    pub(crate) fn connect_with<C, T>(
        &self,
        defaults: &[(&str, &str)],
        fixed: &[(&str, &str)],
        context: C,
    ) -> Result<T, Trouble>
    where
        C: ClientContext,
        T: FromClientConfigAndContext<C>,
    {
        self.client(defaults, fixed).create_with_context(context).map_err(|error| match error {
            KafkaError::ClientConfig(..) | KafkaError::ClientCreation(_) => {
                Trouble::Refused(wrong_property("kafka", &error))
            }
            other => Trouble::failed("make a Kafka client", other),
        })
    }
}

fn secure(path: FieldPath<'_>, security: &KafkaSecurity, said: &mut BTreeMap<String, String>) -> Result<(), Trouble> {
    said.insert("security.protocol".into(), security.protocol.to_lowercase());
    if let Some(mechanism) = &security.sasl_mechanism {
        said.insert("sasl.mechanism".into(), mechanism.clone());
    }
    let secrets: [(&str, &str, &Option<SecretRef>); 5] = [
        ("username", "sasl.username", &security.username),
        ("password", "sasl.password", &security.password),
        ("ca", "ssl.ca.pem", &security.ca),
        ("certificate", "ssl.certificate.pem", &security.certificate),
        ("key", "ssl.key.pem", &security.key),
    ];
    for (field, property, secret) in secrets {
        if let Some(secret) = secret {
            let text = secrets::resolve(&format!("{path}.security.{field}"), secret).map_err(Trouble::Secret)?;
            said.insert(property.into(), text);
        }
    }
    Ok(())
}

fn wrong_property(path: FieldPath<'_>, error: &KafkaError) -> String {
    match error {
        // The value may be a secret, so only the property's name is told.
        KafkaError::ClientConfig(_, reason, name, _) => format!(
            "{path}.properties: `{name}` is not accepted: {reason}; accepted are librdkafka's properties (CONFIGURATION.md)"
        ),
        other => format!("{path}: the client can't be made: {other}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn cluster(properties: &[(&str, &str)]) -> Result<Cluster, Trouble> {
        let properties = properties.iter().map(|(name, value)| ((*name).into(), (*value).into())).collect();
        Cluster::new("kafka", "localhost:9092", None, &properties)
    }

    fn refusal(result: Result<Cluster, Trouble>) -> String {
        match result {
            Err(Trouble::Refused(message)) => message,
            other => panic!("not refused: {other:?}"),
        }
    }

    #[test]
    fn a_property_librdkafka_does_not_know_is_refused_by_name() {
        let message = refusal(cluster(&[("fetch.min.bites", "1")]));
        assert!(message.contains("kafka.properties: `fetch.min.bites`"), "{message}");
    }

    #[test]
    fn a_value_librdkafka_does_not_take_is_refused_without_being_told() {
        let message = refusal(cluster(&[("fetch.min.bytes", "hunter2")]));
        assert!(message.contains("`fetch.min.bytes`"), "{message}");
    }

    #[test]
    fn the_users_properties_win_over_defaults_and_lose_to_what_is_fixed() {
        let cluster = cluster(&[("linger.ms", "7"), ("acks", "1")]).unwrap();
        let config = cluster.client(&[("linger.ms", "5"), ("batch.size", "9")], &[("acks", "all")]);
        let told = |name| config.get(name).unwrap();
        assert_eq!((told("linger.ms"), told("batch.size"), told("acks")), ("7", "9", "all"));
    }

    #[test]
    fn a_missing_secret_names_its_field_and_variable() {
        let secret = |key: &str| SecretRef {
            secret_key_ref: tidegate_crds::SecretKeyRef { name: "never-set".into(), key: key.into() },
        };
        let security = KafkaSecurity {
            protocol: "SASL_SSL".into(),
            sasl_mechanism: Some("PLAIN".into()),
            password: Some(secret("password")),
            ..KafkaSecurity::default()
        };
        let trouble = Cluster::new("kafka", "localhost:9092", Some(&security), &BTreeMap::new()).unwrap_err();
        let Trouble::Secret(missing) = trouble else { panic!("{trouble:?}") };
        let message = missing.to_string();
        assert!(message.contains("kafka.security.password"), "{message}");
        assert!(message.contains("TIDEGATE_SECRET_NEVER_SET_PASSWORD"), "{message}");
    }
}
