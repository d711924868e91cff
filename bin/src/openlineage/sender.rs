//! Events on their way out: a bounded queue, and one task that empties it into a file or to a receiver.
//!
//! Whatever happens to the receiver, a run neither waits nor fails: a full queue loses events, and so does a receiver that gives no
//! answer. How many were lost is told at the end.

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use tokio::io::AsyncWriteExt;
use tokio::sync::mpsc;

/// Events that wait at the most: more than the steps of a large run.
const QUEUE_EVENTS_MAX: usize = 4096;
/// A receiver answers within this, or not at all.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(3);
/// After so many failures one after the other nothing more is tried.
const FAILURES_MAX: u32 = 3;
/// What is still waiting at the end of a command gets so long.
const END_TIMEOUT: Duration = Duration::from_secs(5);

/// Where events go.
#[derive(Debug, Clone)]
pub(super) enum To {
    /// A line each, at the end of a file.
    File(PathBuf),
    /// A POST each.
    Http {
        /// The whole address; it may hold a secret.
        url: String,
        /// Sent as a bearer token.
        api_key: Option<String>,
    },
}

/// Takes events without waiting.
#[derive(Debug)]
pub(super) struct Sender {
    queue: mpsc::Sender<String>,
    lost: Arc<AtomicU64>,
    waiting: Arc<AtomicU64>,
}

/// The task that sends.
#[derive(Debug)]
pub(super) struct Sending {
    task: tokio::task::JoinHandle<Option<String>>,
    lost: Arc<AtomicU64>,
    waiting: Arc<AtomicU64>,
}

impl Sender {
    pub(super) fn start(to: To) -> (Self, Sending) {
        let (queue, events) = mpsc::channel(QUEUE_EVENTS_MAX);
        let (lost, waiting) = (Arc::<AtomicU64>::default(), Arc::<AtomicU64>::default());
        let task = tokio::spawn(deliver(to, events, Arc::clone(&lost), Arc::clone(&waiting)));
        (Self { queue, lost: Arc::clone(&lost), waiting: Arc::clone(&waiting) }, Sending { task, lost, waiting })
    }

    /// Puts an event into the queue, or loses it.
    pub(super) fn send(&self, event: String) {
        self.waiting.fetch_add(1, Ordering::Relaxed);
        if self.queue.try_send(event).is_err() {
            self.waiting.fetch_sub(1, Ordering::Relaxed);
            self.lost.fetch_add(1, Ordering::Relaxed);
        }
    }
}

impl Sending {
    /// Waits a bounded time for what is in the queue, once its sender is gone. Returns how many events were lost, and why.
    pub(super) async fn finish(mut self) -> Option<(u64, String)> {
        let reason = match tokio::time::timeout(END_TIMEOUT, &mut self.task).await {
            Ok(Ok(reason)) => reason,
            Ok(Err(_)) => Some("the task that sends them stopped".to_owned()),
            Err(_) => {
                self.task.abort();
                Some("the receiver is too slow".to_owned())
            }
        };
        let lost = self.lost.load(Ordering::Relaxed) + self.waiting.load(Ordering::Relaxed);
        (lost > 0).then(|| (lost, reason.unwrap_or_else(|| "too many at once".to_owned())))
    }
}

/// Empties the queue. Returns why the last event that was lost was lost.
async fn deliver(to: To, mut events: mpsc::Receiver<String>, lost: Arc<AtomicU64>, waiting: Arc<AtomicU64>) -> Option<String> {
    let mut out = Out::open(to).await;
    let mut failures = 0;
    let mut reason = None;
    while let Some(event) = events.recv().await {
        let sent = if failures < FAILURES_MAX { out.put(event).await } else { Err(reason.clone().unwrap_or_default()) };
        match sent {
            Ok(()) => failures = 0,
            Err(why) => {
                failures += 1;
                reason = Some(why);
                lost.fetch_add(1, Ordering::Relaxed);
            }
        }
        waiting.fetch_sub(1, Ordering::Relaxed);
    }
    if let Out::File(file) = &mut out
        && let Err(error) = file.flush().await
    {
        reason = Some(error.kind().to_string());
    }
    reason
}

enum Out {
    File(tokio::fs::File),
    Http { client: reqwest::Client, url: String, api_key: Option<String> },
    Nowhere(String),
}

impl Out {
    async fn open(to: To) -> Self {
        match to {
            To::File(path) => match tokio::fs::OpenOptions::new().create(true).append(true).open(&path).await {
                Ok(file) => Self::File(file),
                Err(error) => Self::Nowhere(error.kind().to_string()),
            },
            To::Http { url, api_key } => {
                let client = reqwest::Client::builder().timeout(ANSWER_TIMEOUT).connect_timeout(ANSWER_TIMEOUT);
                match client.redirect(reqwest::redirect::Policy::none()).build() {
                    Ok(client) => Self::Http { client, url, api_key },
                    Err(_) => Self::Nowhere("no HTTP client could be made".to_owned()),
                }
            }
        }
    }

    /// The error never names the address, which may hold a secret.
    async fn put(&mut self, mut event: String) -> Result<(), String> {
        match self {
            Self::Nowhere(why) => Err(why.clone()),
            Self::File(file) => {
                event.push('\n');
                file.write_all(event.as_bytes()).await.map_err(|error| error.kind().to_string())
            }
            Self::Http { client, url, api_key } => {
                let mut request = client.post(url.as_str()).header(reqwest::header::CONTENT_TYPE, "application/json").body(event);
                if let Some(key) = api_key {
                    request = request.bearer_auth(key);
                }
                match request.send().await {
                    Ok(answer) if answer.status().is_success() => Ok(()),
                    Ok(answer) => Err(format!("the receiver answered {}", answer.status().as_u16())),
                    Err(error) if error.is_timeout() => Err("the receiver gave no answer in time".to_owned()),
                    Err(error) if error.is_connect() => Err("the receiver could not be reached".to_owned()),
                    Err(_) => Err("the receiver broke off".to_owned()),
                }
            }
        }
    }
}
