//! What SQL may name: the document's sources and sinks.

use arrow::datatypes::SchemaRef;

/// Sources and sinks of one job, by name. Names are unique without regard to case; [`tidegate_crds`] has checked that.
#[derive(Debug, Clone, Default)]
pub struct Catalog {
    pub sources: Vec<CatalogSource>,
    pub sinks: Vec<String>,
}

/// A source as a table.
#[derive(Debug, Clone)]
pub struct CatalogSource {
    pub name: String,
    /// All columns of the source.
    pub schema: SchemaRef,
    /// The column that the source's `watermark` names, a timestamp.
    pub event_time: Option<String>,
}
