//! The connection to Redis: a thread of its own that carries out what requests ask for, hears what others note, and comes
//! back when the connection breaks. No request waits for a connection.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use redis::aio::MultiplexedConnection;
use redis::{AsyncConnectionConfig, Client, ConnectionInfo, IntoConnectionInfo, ProtocolVersion, PushInfo, PushKind};
use redis::{RedisError, Value};
use tokio::sync::mpsc;
use tokio::time::{Instant, MissedTickBehavior, timeout, timeout_at};

use super::filed::{Filed, LONGEST, NOTE, Unread, stamped};
use super::hub::{Hub, Outcome};
use super::shared::{Guard, Order, What};

/// Where a Redis is.
#[derive(Debug, Clone)]
pub(crate) struct Redis {
    info: ConnectionInfo,
}

/// How a connection ends.
enum Ended {
    /// Nobody needs it any more.
    Unused,
    /// It broke.
    Lost(String),
}

/// For a connection, and for what is noted late.
const PATIENCE: Duration = Duration::from_secs(1);
/// Between two looks whether it still answers.
const PULSE: Duration = Duration::from_secs(1);
/// Between two tries to connect, at first and at most.
const PAUSES: [Duration; 2] = [Duration::from_millis(100), Duration::from_secs(2)];
/// A connection that held for so long was a good one: the next is tried soon.
const STEADY: Duration = Duration::from_secs(5);
/// For how long an ended session is known to have ended: late notes of it don't bring it back.
const ENDED: Duration = Duration::from_secs(300);

impl Redis {
    /// # Errors
    /// What is wrong with the address; nothing of the address itself, which may have a password in it.
    pub(crate) fn read(url: &str) -> Result<Redis, &'static str> {
        if url.starts_with("rediss:") || url.starts_with("valkeys:") {
            return Err("a directory is reached without TLS: say redis:// to a tunnel, or a network of your own");
        }
        let info = url.into_connection_info().map_err(
            |_| "expected redis://[user:password@]host[:port][/db] or unix:///path[?db=1], with odd characters as %40",
        )?;
        let redis = info.redis_settings().clone().set_protocol(ProtocolVersion::RESP3);
        Ok(Redis { info: info.set_redis_settings(redis) })
    }

    /// With this password.
    pub(crate) fn with_password(self, password: &str) -> Redis {
        let redis = self.info.redis_settings().clone().set_password(password);
        Redis { info: self.info.set_redis_settings(redis) }
    }

    /// The address for people, without its password.
    pub(crate) fn shown(&self) -> String {
        format!("{}, db {}", self.info.addr(), self.info.redis_settings().db())
    }
}

/// Starts the thread, and waits a moment for the first connection.
pub(super) fn start(hub: Arc<Hub>, place: Redis, orders: mpsc::Receiver<Order>) -> std::io::Result<()> {
    let threads = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let (first, tried) = std::sync::mpsc::sync_channel(1);
    let run = move || threads.block_on(run(&hub, &place, orders, &first));
    std::thread::Builder::new().name("unskew-directory".to_owned()).spawn(run)?;
    let _ = tried.recv_timeout(PATIENCE * 2); // what comes later is no harm: the state says so
    Ok(())
}

async fn run(
    hub: &Arc<Hub>,
    place: &Redis,
    mut orders: mpsc::Receiver<Order>,
    first: &std::sync::mpsc::SyncSender<()>,
) {
    let (mut pause, at, mut said) = (PAUSES[0], place.shown(), false);
    loop {
        let reason = match timeout(PATIENCE, connect(hub, place)).await {
            Ok(Ok((connection, told, hears))) => {
                hub.up(hears);
                tracing::info!(%at, hears, "directory is reached");
                let _ = first.try_send(());
                let began = Instant::now();
                let ended = serve(hub, &connection, told, &mut orders).await;
                if began.elapsed() > STEADY {
                    pause = PAUSES[0];
                }
                said = false;
                match ended {
                    Ended::Unused => return,
                    Ended::Lost(reason) => reason,
                }
            }
            Ok(Err(error)) => error.to_string(),
            Err(_) => "no answer in time".to_owned(),
        };
        if !std::mem::replace(&mut said, true) {
            tracing::warn!(%at, reason, "directory is away: what this process knows is taken");
        }
        hub.away(reason);
        let _ = first.try_send(());
        let again = tokio::time::sleep(pause);
        tokio::pin!(again);
        loop {
            tokio::select! {
                () = &mut again => break,
                order = orders.recv() => match order {
                    Some(order) => drop(order), // nobody is kept waiting
                    None => return,
                },
            }
        }
        pause = (pause * 2).min(PAUSES[1]);
    }
}

type Connected = (MultiplexedConnection, mpsc::UnboundedReceiver<PushInfo>, bool);

async fn connect(hub: &Hub, place: &Redis) -> Result<Connected, RedisError> {
    let (to, told) = mpsc::unbounded_channel();
    let config = AsyncConnectionConfig::new()
        .set_connection_timeout(Some(PATIENCE))
        .set_response_timeout(Some(PATIENCE))
        .set_push_sender(to);
    let client = Client::open(place.info.clone())?;
    let mut connection = client.get_multiplexed_async_connection_with_config(&config).await?;
    let mut track = redis::cmd("CLIENT");
    track.arg(&["TRACKING", "ON", "BCAST", "PREFIX"]).arg(&hub.bounds.prefix).arg("NOLOOP");
    let hears = match track.query_async::<()>(&mut connection).await {
        Ok(()) => true,
        Err(error) if error.is_io_error() => return Err(error),
        Err(error) => {
            tracing::warn!(%error, "directory doesn't tell what others note: it is asked each time");
            false
        }
    };
    redis::cmd("PING").query_async::<()>(&mut connection).await?;
    Ok((connection, told, hears))
}

/// Carries out orders until the connection breaks. What was noted while it was broken comes first.
async fn serve(
    hub: &Arc<Hub>,
    connection: &MultiplexedConnection,
    mut told: mpsc::UnboundedReceiver<PushInfo>,
    orders: &mut mpsc::Receiver<Order>,
) -> Ended {
    let (break_off, mut broken) = mpsc::channel::<String>(1);
    let spawn = |task: Task| {
        let (hub, connection, break_off) = (hub.clone(), connection.clone(), break_off.clone());
        tokio::spawn(async move {
            if let Err(reason) = task.run(&hub, connection).await {
                let _ = break_off.try_send(reason);
            }
        });
    };
    let mut pulse = tokio::time::interval(PULSE);
    pulse.set_missed_tick_behavior(MissedTickBehavior::Delay);
    spawn(Task::Catch);
    loop {
        tokio::select! {
            order = orders.recv() => match order {
                Some(order) => spawn(Task::Order(order)),
                None => return Ended::Unused,
            },
            push = told.recv() => match push {
                Some(PushInfo { kind: PushKind::Invalidate, data }) => hear(hub, &data),
                Some(PushInfo { kind: PushKind::Disconnection, .. }) | None => {
                    return Ended::Lost("the connection is closed".to_owned());
                }
                Some(_) => {} // nothing else is subscribed to
            },
            Some(reason) = broken.recv() => return Ended::Lost(reason),
            _ = pulse.tick() => spawn(Task::Pulse),
        }
    }
}

enum Task {
    Order(Order),
    /// What Redis doesn't know yet.
    Catch,
    /// Does it still answer?
    Pulse,
}

impl Task {
    /// # Errors
    /// Why the connection is given up.
    async fn run(self, hub: &Hub, mut connection: MultiplexedConnection) -> Result<(), String> {
        let connection = &mut connection;
        match self {
            Task::Order(order) => {
                let (until, key) = (Instant::from_std(order.until), key(hub, &order.session));
                match &order.what {
                    What::Look { heard } => {
                        let (filed, heard) = (in_time(until, look(hub, connection, &key)).await?, *heard);
                        let lives = matches!(&filed, Ok(Some(Filed { entry: Some(_), .. })));
                        let found = hub.found(&order.session, filed, heard);
                        order.answer(found);
                        if lives {
                            in_time(Instant::now() + PATIENCE, touch(hub, connection, &key)).await?;
                        }
                    }
                    What::Note(filed, guard) => {
                        let outcome = in_time(until, note(hub, connection, &key, (filed, *guard))).await?;
                        hub.filed(&order.session, filed.stamp, outcome);
                        order.answer(None);
                    }
                }
            }
            Task::Catch => {
                for (session, filed, guard) in hub.unsent() {
                    let (until, key) = (Instant::now() + PATIENCE, key(hub, &session));
                    let outcome = in_time(until, note(hub, connection, &key, (&filed, guard))).await?;
                    hub.filed(&session, filed.stamp, outcome);
                }
            }
            Task::Pulse => {
                let ping = redis::cmd("PING");
                in_time(Instant::now() + PATIENCE, ping.query_async::<()>(connection)).await?;
            }
        }
        Ok(())
    }
}

/// # Errors
/// Why there is no answer.
async fn in_time<T>(until: Instant, asked: impl Future<Output = Result<T, RedisError>>) -> Result<T, String> {
    match timeout_at(until, asked).await {
        Ok(answer) => answer.map_err(|error| error.to_string()),
        Err(_) => Err("no answer in time".to_owned()),
    }
}

async fn look(
    hub: &Hub,
    connection: &mut MultiplexedConnection,
    key: &str,
) -> Result<Result<Option<Filed>, Unread>, RedisError> {
    let mut get = redis::cmd("GETRANGE");
    get.arg(key).arg(0).arg(LONGEST - 1);
    match get.query_async::<Vec<u8>>(connection).await {
        Ok(value) if value.is_empty() => Ok(Ok(None)),
        Ok(value) => Ok(Filed::read(Bytes::from(value), hub.newest()).map(Some)),
        Err(error) if error.code() == Some("WRONGTYPE") => Ok(Err(Unread)),
        Err(error) => Err(error),
    }
}

async fn note(
    hub: &Hub,
    connection: &mut MultiplexedConnection,
    key: &str,
    (filed, guard): (&Filed, Guard),
) -> Result<Outcome, RedisError> {
    let lasts = if filed.entry.is_some() { hub.bounds.limits.idle } else { ENDED.min(hub.bounds.limits.idle) };
    let guarded = match guard {
        Guard::Any => "0",
        Guard::UnlessCarry => "1",
    };
    let mut eval = redis::cmd("EVAL");
    eval.arg(NOTE).arg(1).arg(key).arg(stamped(filed.stamp)).arg(filed.write());
    eval.arg(milliseconds(lasts)).arg(stamped(hub.newest())).arg(guarded);
    let done: i64 = eval.query_async(connection).await?;
    Ok(if done == 1 { Outcome::Done } else { Outcome::Outdone })
}

/// Whoever asks for a session keeps it.
async fn touch(hub: &Hub, connection: &mut MultiplexedConnection, key: &str) -> Result<(), RedisError> {
    redis::cmd("PEXPIRE").arg(key).arg(milliseconds(hub.bounds.limits.idle)).query_async(connection).await
}

/// The sessions that another process has noted something of; all of them, where Redis was emptied.
fn hear(hub: &Hub, data: &[Value]) {
    for value in data {
        let Value::Array(keys) = value else {
            hub.doubt_all();
            continue;
        };
        for key in keys {
            let Value::BulkString(key) = key else { continue };
            let session = key.strip_prefix(hub.bounds.prefix.as_bytes());
            if let Some(session) = session.and_then(|session| std::str::from_utf8(session).ok()) {
                hub.heard(&session.into());
            }
        }
    }
}

fn key(hub: &Hub, session: &str) -> String {
    format!("{}{session}", hub.bounds.prefix)
}

fn milliseconds(lasts: Duration) -> u64 {
    u64::try_from(lasts.as_millis()).unwrap_or(u64::MAX).clamp(1, u64::from(u32::MAX) * 1000)
}
