//! Large records off the event loop: a bounded lane of blocking threads for async hosts.

use std::sync::Arc;

use tokio::sync::Semaphore;

/// The longest record that an async host translates in place, in bytes: a few dozen microseconds of work.
pub const INLINE_MAX_BYTES: usize = 64 << 10;

/// Runs calls on small records in place and calls on large ones on blocking threads, at most so many at once.
///
/// ```
/// # tokio::runtime::Builder::new_current_thread().build().unwrap().block_on(async {
/// let offload = unskew::Offload::new(2);
/// let record = vec![b' '; 1 << 20];
/// assert_eq!(offload.run(record.len(), move || record.len()).await, 1 << 20);
/// # })
/// ```
#[derive(Clone, Debug)]
pub struct Offload {
    lanes: Arc<Semaphore>,
}

impl Offload {
    /// At most so many large records at once; the others wait their turn.
    pub fn new(lanes: usize) -> Offload {
        Offload { lanes: Arc::new(Semaphore::new(lanes.max(1))) }
    }

    /// Runs `call` on `bytes` of record: in place up to `INLINE_MAX_BYTES`, else on a blocking thread of tokio's.
    ///
    /// # Panics
    /// Where `call` panics.
    pub async fn run<T: Send + 'static>(&self, bytes: usize, call: impl FnOnce() -> T + Send + 'static) -> T {
        if bytes <= INLINE_MAX_BYTES {
            return call();
        }
        // The semaphore is never closed; were it, the call would run unbounded rather than not at all.
        let permit = self.lanes.clone().acquire_owned().await.ok();
        let done = tokio::task::spawn_blocking(move || {
            let _permit = permit;
            call()
        });
        match done.await {
            Ok(answer) => answer,
            Err(failed) => std::panic::resume_unwind(failed.into_panic()),
        }
    }
}
