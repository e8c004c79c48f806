//! A chain: the operators of one task, joined by direct calls.

use std::collections::VecDeque;

use arrow::array::RecordBatch;

use crate::{
    element::Element,
    ids::{EventTime, OperatorId},
    operator::{Emitted, Frozen, Operator, OperatorError, Output},
    state::WriteAhead,
};

/// One operator and where its output goes.
pub struct Link {
    pub id: OperatorId,
    /// The sink, where the operator keeps rows for one.
    pub sink: Option<String>,
    /// What the operator writes rows ahead with.
    pub ahead: Option<WriteAhead>,
    pub operator: Box<dyn Operator>,
    /// Links that read this one; always later ones.
    pub next: Vec<usize>,
    /// Links that read its side output.
    pub side: Vec<usize>,
    /// Exchanges that it sends to.
    pub edges: Vec<usize>,
}

/// The operators of a task; the first is where elements come in.
pub struct Chain {
    links: Vec<Link>,
    /// What each link has still to be handed, in order. Kept over calls to save allocations.
    inbox: Vec<VecDeque<Emitted>>,
    /// Links that have more to put out before they are handed anything.
    unfinished: Vec<bool>,
    outgoing: Vec<(usize, Element)>,
}

impl Chain {
    pub fn new(links: Vec<Link>) -> Self {
        let inbox = links.iter().map(|_| VecDeque::new()).collect();
        let unfinished = vec![false; links.len()];
        Self { links, inbox, unfinished, outgoing: Vec::new() }
    }

    pub fn batch(&mut self, batch: RecordBatch) -> Result<(), OperatorError> {
        self.run(Emitted::Batch(batch))
    }

    pub fn watermark(&mut self, watermark: EventTime) -> Result<(), OperatorError> {
        self.run(Emitted::Watermark(watermark))
    }

    /// Rows that were in flight in the checkpoint that the attempt began with.
    pub fn restored(&mut self, rows: RecordBatch, as_of: EventTime) -> Result<(), OperatorError> {
        let Some(first) = self.links.first_mut() else { return Ok(()) };
        let mut output = Output::default();
        first.operator.on_restored(rows, as_of, &mut output)?;
        self.forward(0, output.elements);
        self.drain(1)
    }

    /// What the first operator takes the time to be.
    pub fn now(&self) -> EventTime {
        self.links.first().map_or(EventTime::MIN, |first| first.operator.watermark())
    }

    /// Nothing comes for now.
    pub fn idle(&mut self) -> Result<(), OperatorError> {
        self.run(Emitted::Idle)
    }

    /// Rows for the side output of the first link.
    pub fn side(&mut self, batch: RecordBatch) -> Result<(), OperatorError> {
        self.forward(0, vec![Emitted::Side(batch)]);
        self.drain(1)
    }

    fn run(&mut self, element: Emitted) -> Result<(), OperatorError> {
        if let Some(first) = self.inbox.first_mut() {
            first.push_back(element);
        }
        self.drain(0)
    }

    /// Whether there is more to put out than should be in memory at a time.
    pub fn is_unfinished(&self) -> bool {
        self.unfinished.contains(&true)
    }

    /// Puts out some more of what there is more of than should be in memory at a time. Whether there was any; as long as
    /// there is, no epoch ends.
    pub fn go_on(&mut self) -> Result<bool, OperatorError> {
        // The last first: what is before it would only fill its inbox.
        let Some(last) = self.unfinished.iter().rposition(|unfinished| *unfinished) else { return Ok(false) };
        self.drain(last)?;
        Ok(true)
    }

    /// Works off the inboxes from `first` on. Links stand in topological order, so one pass is enough.
    fn drain(&mut self, first: usize) -> Result<(), OperatorError> {
        for index in first..self.links.len() {
            let (Some(link), Some(inbox), Some(unfinished)) =
                (self.links.get_mut(index), self.inbox.get_mut(index), self.unfinished.get_mut(index))
            else {
                break;
            };
            let mut output = Output::default();
            if *unfinished {
                *unfinished = link.operator.go_on(&mut output)?;
            }
            while !*unfinished && let Some(element) = inbox.pop_front() {
                match element {
                    Emitted::Batch(batch) | Emitted::Side(batch) => link.operator.on_batch(batch, &mut output)?,
                    Emitted::Watermark(watermark) => {
                        *unfinished = link.operator.on_watermark(watermark, &mut output)?;
                    }
                    Emitted::Idle => output.elements.push(Emitted::Idle),
                }
            }
            self.forward(index, output.elements);
        }
        Ok(())
    }

    fn forward(&mut self, from: usize, elements: Vec<Emitted>) {
        let Some(link) = self.links.get(from) else { return };
        for element in elements {
            match element {
                Emitted::Side(batch) => {
                    for side in &link.side {
                        self.inbox[*side].push_back(Emitted::Batch(batch.clone()));
                    }
                }
                Emitted::Batch(batch) => {
                    for next in &link.next {
                        self.inbox[*next].push_back(Emitted::Batch(batch.clone()));
                    }
                    self.outgoing.extend(link.edges.iter().map(|edge| (*edge, Element::Batch(batch.clone()))));
                }
                Emitted::Idle => {
                    for next in &link.next {
                        self.inbox[*next].push_back(Emitted::Idle);
                    }
                    self.outgoing.extend(link.edges.iter().map(|edge| (*edge, Element::Idle)));
                }
                Emitted::Watermark(watermark) => {
                    for next in &link.next {
                        self.inbox[*next].push_back(Emitted::Watermark(watermark));
                    }
                    self.outgoing.extend(link.edges.iter().map(|edge| (*edge, Element::Watermark(watermark))));
                }
            }
        }
    }

    /// What has to be sent, by edge, in order.
    pub fn take_outgoing(&mut self) -> Vec<(usize, Element)> {
        std::mem::take(&mut self.outgoing)
    }

    /// Waits while more rows wait to be written ahead than should be in memory.
    pub async fn room(&self) {
        for ahead in self.links.iter().filter_map(|link| link.ahead.as_ref()) {
            ahead.room().await;
        }
    }

    /// The epoch ends here for every operator of the chain.
    pub fn freeze(&mut self) -> Result<Vec<FrozenLink>, OperatorError> {
        self.links
            .iter_mut()
            .map(|link| {
                let (id, sink, ahead) = (link.id.clone(), link.sink.clone(), link.ahead.clone());
                Ok(FrozenLink { id, sink, ahead, frozen: link.operator.freeze()? })
            })
            .collect()
    }
}

/// What one operator handed over at a barrier.
pub struct FrozenLink {
    pub id: OperatorId,
    pub sink: Option<String>,
    pub ahead: Option<WriteAhead>,
    pub frozen: Frozen,
}
