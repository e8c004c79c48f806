//! Steps that are done one after the other, beside whoever hands them over.
//!
//! A thread does them, and ends with the first that fails, or with the last when nobody can hand over any more. Who waits
//! for it waits with its own thread.
//!
//! In a simulation nothing happens beside the turns. There a step takes place in a turn of its process, some time after it
//! was handed over; or earlier, when somebody waits for it.

use std::{
    io,
    sync::mpsc::{Receiver, RecvError, Sender, TryRecvError, channel},
};

#[cfg(any(test, feature = "test-util"))]
use self::turns::Turns;
#[cfg(any(test, feature = "test-util"))]
use crate::simulation;

type Step<E> = Box<dyn FnOnce() -> Result<(), E> + Send>;

/// Steps that may fail with `E`. Dropped, those that were handed over are done all the same.
pub struct Line<E> {
    steps: Steps<E>,
    done: Receiver<Result<(), E>>,
}

enum Steps<E> {
    Thread(Sender<Step<E>>),
    #[cfg(any(test, feature = "test-util"))]
    Turns(Turns<E>),
}

impl<E: Send + 'static> Line<E> {
    /// A thread of this name does them.
    pub fn start(name: &str) -> io::Result<Self> {
        let (told, done) = channel();
        #[cfg(any(test, feature = "test-util"))]
        if simulation::is_inside() {
            return Ok(Self { steps: Steps::Turns(Turns::new(told)), done });
        }
        let (steps, line) = channel::<Step<E>>();
        super::spawn_thread(name, move || {
            for step in line {
                let result = step();
                let has_failed = result.is_err();
                // Who has handed it over may be gone.
                let _gone = told.send(result);
                if has_failed {
                    break;
                }
            }
        })?;
        Ok(Self { steps: Steps::Thread(steps), done })
    }

    pub fn hand_over(&self, step: impl FnOnce() -> Result<(), E> + Send + 'static) {
        match &self.steps {
            Steps::Thread(steps) => {
                // Where the line has ended, who asks how the step went is told so.
                let _ended = steps.send(Box::new(step));
            }
            #[cfg(any(test, feature = "test-util"))]
            Steps::Turns(turns) => turns.hand_over(Box::new(step)),
        }
    }

    /// How the next step went, of those that nobody has asked for; waits for it. Fails if the line has ended before it.
    pub fn wait(&self) -> Result<Result<(), E>, RecvError> {
        match &self.steps {
            Steps::Thread(_) => self.done.recv(),
            #[cfg(any(test, feature = "test-util"))]
            Steps::Turns(turns) => loop {
                match self.done.try_recv() {
                    Ok(done) => return Ok(done),
                    Err(TryRecvError::Empty) if turns.take_one() => {}
                    Err(_) => return Err(RecvError),
                }
            },
        }
    }

    /// As [`Line::wait`], without waiting.
    pub fn look(&self) -> Result<Result<(), E>, TryRecvError> {
        self.done.try_recv()
    }
}

#[cfg(any(test, feature = "test-util"))]
mod turns {
    use std::{
        collections::VecDeque,
        sync::{Arc, Mutex, MutexGuard, PoisonError, mpsc::Sender},
    };

    use super::Step;
    use crate::{env, simulation};

    /// What is in line, and whom to tell. Clones are the same one.
    pub(super) struct Turns<E>(Arc<Mutex<InLine<E>>>);

    struct InLine<E> {
        steps: VecDeque<Step<E>>,
        /// None after a step that has failed.
        told: Option<Sender<Result<(), E>>>,
    }

    impl<E: Send + 'static> Turns<E> {
        pub fn new(told: Sender<Result<(), E>>) -> Self {
            Self(Arc::new(Mutex::new(InLine { steps: VecDeque::new(), told: Some(told) })))
        }

        pub fn hand_over(&self, step: Step<E>) {
            {
                let mut line = self.lock();
                if line.told.is_none() {
                    return;
                }
                line.steps.push_back(step);
            }
            let (this, later) = (Self(self.0.clone()), simulation::ask(|doors| doors.beside()).unwrap_or_default());
            tokio::spawn(async move {
                env::sleep(later).await;
                // None is left where somebody has waited.
                this.take_one();
            });
        }

        /// Takes the first step in line. False if there is none.
        pub fn take_one(&self) -> bool {
            let Some(step) = self.lock().steps.pop_front() else { return false };
            let result = step();
            let has_failed = result.is_err();
            let told = self.lock().told.clone();
            // Who has handed it over may be gone.
            let _gone = told.map(|told| told.send(result));
            if has_failed {
                let mut line = self.lock();
                (line.told, line.steps) = (None, VecDeque::new());
            }
            true
        }

        fn lock(&self) -> MutexGuard<'_, InLine<E>> {
            // A step is in line or it is not: a panic elsewhere leaves the line usable.
            self.0.lock().unwrap_or_else(PoisonError::into_inner)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn steps_are_done_in_order_and_the_first_that_fails_is_the_last() {
        let line = Line::start("line").unwrap();
        let (send, seen) = channel();
        for number in 0..4 {
            let send = send.clone();
            line.hand_over(move || {
                send.send(number).unwrap();
                if number == 2 { Err(number) } else { Ok(()) }
            });
        }
        drop(send);
        assert_eq!(
            [line.wait(), line.wait(), line.wait(), line.wait()],
            [Ok(Ok(())), Ok(Ok(())), Ok(Err(2)), Err(RecvError)]
        );
        assert_eq!(line.look(), Err(TryRecvError::Disconnected));
        assert_eq!(seen.iter().collect::<Vec<_>>(), [0, 1, 2]);
    }

    #[test]
    fn what_was_handed_over_is_done_also_when_the_line_is_dropped() {
        let line = Line::<()>::start("line").unwrap();
        let (send, seen) = channel();
        for number in 0..100 {
            let send = send.clone();
            line.hand_over(move || {
                send.send(number).unwrap();
                Ok(())
            });
        }
        drop((line, send));
        assert_eq!(seen.iter().collect::<Vec<_>>(), (0..100).collect::<Vec<_>>());
    }
}
