//! Rows as JSON lines on standard output, for people.

use std::io::{self, Write};

use arrow::{array::RecordBatch, datatypes::SchemaRef};
use async_trait::async_trait;

use super::{DirectSink, DirectWriter, FlushFuture, SinkError};
use crate::format::json;

/// Standard output as a sink.
#[derive(Debug)]
pub struct Print {
    sink: String,
}

impl Print {
    /// `sink` is the sink's name in the document.
    pub fn new(sink: &str) -> Self {
        Self { sink: sink.to_owned() }
    }
}

#[async_trait]
impl DirectSink for Print {
    /// Every column can be printed.
    async fn preflight(&self, _schema: &SchemaRef) -> Result<(), SinkError> {
        Ok(())
    }

    fn open(&self) -> Result<Box<dyn DirectWriter>, SinkError> {
        Ok(Box::new(PrintWriter::to(&self.sink, io::stdout())))
    }
}

/// Writes through; a row is printed when it is written.
#[derive(Debug)]
struct PrintWriter<W> {
    sink: String,
    out: W,
}

impl<W: Write> PrintWriter<W> {
    fn to(sink: &str, out: W) -> Self {
        Self { sink: sink.to_owned(), out }
    }

    /// A pipe that nobody reads any more is never read again.
    fn broken(&self, cause: io::Error) -> SinkError {
        if cause.kind() == io::ErrorKind::BrokenPipe {
            let message = "nobody reads standard output any more".to_owned();
            return SinkError::Refused { sink: self.sink.clone(), message };
        }
        self.failed(cause)
    }

    fn failed(&self, cause: impl std::error::Error + Send + Sync + 'static) -> SinkError {
        SinkError::Failed { sink: self.sink.clone(), action: "print rows".to_owned(), cause: cause.into() }
    }
}

impl<W: Write + Send> DirectWriter for PrintWriter<W> {
    fn write(&mut self, batch: &RecordBatch) -> Result<(), SinkError> {
        let lines = json::encode(batch).map_err(|error| self.failed(error))?;
        // One call for all rows, so that subtasks do not write into each other's lines.
        self.out.write_all(&lines.bytes).map_err(|error| self.broken(error))
    }

    fn flush(&mut self) -> FlushFuture {
        let flushed = self.out.flush().map_err(|error| self.broken(error));
        Box::pin(std::future::ready(flushed))
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use arrow::{
        array::Int64Array,
        datatypes::{DataType, Field, Schema},
    };

    use super::*;

    #[derive(Debug)]
    struct Closed;

    impl Write for Closed {
        fn write(&mut self, _: &[u8]) -> io::Result<usize> {
            Err(io::ErrorKind::BrokenPipe.into())
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    #[test]
    fn a_pipe_that_nobody_reads_ends_the_job() {
        let schema = Arc::new(Schema::new(vec![Field::new("n", DataType::Int64, false)]));
        let batch = RecordBatch::try_new(schema, vec![Arc::new(Int64Array::from(vec![1]))]).unwrap();
        let error = PrintWriter::to("out", Closed).write(&batch).unwrap_err();
        assert!(matches!(error, SinkError::Refused { .. }), "{error}");
    }

    #[tokio::test]
    async fn rows_are_printed_as_lines() {
        let schema = Arc::new(Schema::new(vec![Field::new("n", DataType::Int64, false)]));
        let batch = RecordBatch::try_new(schema, vec![Arc::new(Int64Array::from(vec![1, 2]))]).unwrap();
        let mut writer = PrintWriter::to("out", Vec::new());
        writer.write(&batch).unwrap();
        writer.flush().await.unwrap();
        assert_eq!(writer.out, b"{\"n\":1}\n{\"n\":2}\n");
    }
}
