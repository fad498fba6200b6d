//! From the first byte to CONNACK: who is this, and may it come in (device-mqtt-https.md 3)?

use std::sync::Arc;

use hub::access::{Authenticated, Credential, Reason, Refusal, Subject, Usage};
use hub::bus::{Address, Moment};
use hub::failures::Claim;
use hub::hub::Hub;
use hub::identity::{DeviceId, IdentityId, InvalidId, ModuleId};
use hub::limits::{Limit, Limits};
use hub::network::Endpoint;
use hub::records::{Kind, Origin, Outcome};
use hub::sessions::Subscriptions;
use mqtt::packet::{Connect, ConnectCode, Malformed, Will};
use mqtt::server::{Event, OwnedWill, Session, Violation};
use tokio::io::{AsyncReadExt, AsyncWriteExt};

use super::subscriptions::SubscriptionSet;
use super::topic::Inbound;
use super::username::{InvalidUsername, Username};
use super::window::WINDOW;
use crate::app::App;
use crate::listen::{Arrival, Draining, Stream, evicted, timed_out};
use crate::refusal::outcome_of;

/// Bytes of a CONNECT packet: the budget of a stranger, less what TLS takes.
const CONNECT_BYTES_MAX: usize = 8 * 1_024;

/// Bytes of most CONNECT packets.
const CONNECT_BYTES_USUAL: usize = 512;

/// A client that was let in.
pub(super) struct Guest {
    pub(super) stream: Stream,
    pub(super) session: Session,
    pub(super) hub: Arc<Hub>,
    pub(super) proof: Arc<Authenticated>,
    pub(super) address: Address,
    /// Before the proof: a change of the identity that the proof does not know of sends mail after it.
    pub(super) proven: Moment,
    pub(super) origin: Origin,
    pub(super) model_id: Option<Arc<str>>,
    /// Whether its user name had an API version, which requests for the twin ask for.
    pub(super) has_api_version: bool,
    /// Subscriptions of its session, and whether they are to be kept.
    pub(super) subscriptions: SubscriptionSet,
    pub(super) persistent: bool,
    /// Bytes that came after the CONNECT.
    pub(super) rest: Vec<u8>,
    /// The answer, not sent yet: it goes out once the connection holds its identity.
    pub(super) answer: Vec<u8>,
}

/// Why a client was not let in: the code it gets, if it gets any, and what the operator reads.
struct TurnedAway {
    code: Option<ConnectCode>,
    outcome: Outcome,
    // One of too many to be told.
    is_hushed: bool,
}

impl TurnedAway {
    fn silently(outcome: Outcome) -> Box<Self> {
        Box::new(Self {
            code: None,
            outcome,
            is_hushed: false,
        })
    }

    fn with(code: ConnectCode, outcome: Outcome) -> Box<Self> {
        Box::new(Self {
            code: Some(code),
            outcome,
            is_hushed: false,
        })
    }

    fn refused(refusal: &Refusal) -> Box<Self> {
        let mut turned_away = Self::with(code_of(refusal), outcome_of(refusal));
        turned_away.is_hushed = refusal.is_hushed();
        turned_away
    }
}

/// An unknown identity and a bad credential are 5, a disabled one and everything that may pass is 3: SDKs stop for good at 5
/// (device-mqtt-https.md 3.3). 3 was seen of a hub with network rules, too (service-rest.md 19).
pub(crate) fn code_of(refusal: &Refusal) -> ConnectCode {
    let may_change = matches!(
        refusal.reason,
        Reason::IdentityDisabled | Reason::NetworkDenied | Reason::CertificateStatusUnknown
    );
    if refusal.is_passing() || may_change {
        ConnectCode::ServerUnavailable
    } else {
        ConnectCode::NotAuthorized
    }
}

/// Lets a client in, or leaves a record of why not.
pub(super) fn login(
    arrival: Arrival,
    app: Arc<App>,
) -> impl Future<Output = Option<(Box<Guest>, Draining)>> + Send {
    let Arrival {
        mut stream,
        protocol,
        peer,
        stranger,
        deadline,
        draining,
    } = arrival;
    let mut origin = Origin::new(peer, protocol);
    async move {
        let attempt = Box::pin(admit(&mut stream, &mut origin, &app));
        let turned_away = tokio::select! {
            result = tokio::time::timeout_at(deadline, attempt) => match result {
                Ok(Ok(admitted)) => return Some((Box::new(admitted.into_guest(stream, origin)), draining)),
                Ok(Err(turned_away)) => turned_away,
                Err(_) => TurnedAway::silently(timed_out(app.limits.time(Limit::UnauthenticatedSecsMax))),
            },
            () = stranger.evicted() => TurnedAway::silently(evicted()),
        };
        if !turned_away.is_hushed {
            app.records.leave(origin, turned_away.outcome);
        }
        if let Some(code) = turned_away.code {
            let answer = [0x20, 2, 0, code as u8];
            // The peer may be gone; it has been refused either way.
            let _ = tokio::time::timeout_at(deadline, async {
                stream.write_all(&answer).await?;
                stream.shutdown().await
            })
            .await;
        }
        None
    }
}

/// Everything but the stream.
struct Admitted {
    session: Session,
    hub: Arc<Hub>,
    proof: Authenticated,
    address: Address,
    proven: Moment,
    model_id: Option<Arc<str>>,
    has_api_version: bool,
    subscriptions: SubscriptionSet,
    persistent: bool,
    rest: Vec<u8>,
    answer: Vec<u8>,
}

impl Admitted {
    fn into_guest(self, mut stream: Stream, origin: Origin) -> Guest {
        stream.lift_stranger_limit();
        Guest {
            stream,
            session: self.session,
            hub: self.hub,
            proof: Arc::new(self.proof),
            address: self.address,
            proven: self.proven,
            origin,
            model_id: self.model_id,
            has_api_version: self.has_api_version,
            subscriptions: self.subscriptions,
            persistent: self.persistent,
            rest: self.rest,
            answer: self.answer,
        }
    }
}

async fn admit(stream: &mut Stream, origin: &mut Origin, app: &App) -> Result<Admitted, Box<TurnedAway>> {
    let mut session = Session::new(Arc::clone(&app.mqtt_limits), app.clock.elapsed());
    let mut input = Vec::new();
    let length = read_connect(stream, &mut session, app, &mut input).await?;
    let certificates = stream.peer_certificates();
    let (packet, rest) = input.split_at(length);
    let Ok(Some((mqtt::packet::Packet::Connect(connect), _))) =
        mqtt::packet::Packet::parse(packet, CONNECT_BYTES_MAX)
    else {
        return Err(TurnedAway::silently(Outcome::new(
            Kind::Refused,
            "parse",
            "malformed",
            "the CONNECT packet cannot be read twice",
        )));
    };
    let Claimed {
        hub,
        identity,
        model_id,
        has_api_version,
    } = identify(&connect, stream.server_name(), origin, app)?;
    let from = origin.peer.ip();
    let admitted = hub
        .gate()
        .admit(Endpoint::Device, from)
        .and_then(|admitted| hub.admit_tls(stream.tls()).map(|()| admitted))
        .map_err(|refusal| TurnedAway::refused(&refusal.by(Subject::Identity(identity.clone()))))?;
    let will = own_will(connect.will.as_ref(), &identity)?;
    let token = password(&connect)?;
    let credential = Credential::sas(token).with_certificates(&certificates);
    let address = Address {
        hub: hub.name().clone(),
        identity,
    };
    let proven = app.bus.moment(&address);
    let claim = Claim::Identity(address.identity.clone());
    // What the decision needs is large; in a box of its own it does not wait with the peer for its CONNECT.
    let decision = Box::pin(hub.gate().authenticate_device(
        &address.identity,
        &credential,
        Usage::Connection,
    ));
    let proof = app
        .try_login(hub.name(), &claim, from, decision)
        .await
        .map_err(|refusal| TurnedAway::refused(&refusal))?
        .admitted(admitted);
    let stored = session_of(&connect, &proof, app).await?;
    let mut answer = Vec::new();
    session
        .command(&mut answer)
        .accept(stored.is_some(), connect.keep_alive_secs, will);
    let subscriptions = stored
        .map(|stored| SubscriptionSet::from_stored(&stored, &address.identity))
        .unwrap_or_default();
    Ok(Admitted {
        session,
        hub,
        proof,
        address,
        proven,
        model_id,
        has_api_version,
        subscriptions,
        persistent: !connect.clean_session,
        rest: rest.to_vec(),
        answer,
    })
}

/// Reads until the CONNECT packet is there; gives its length.
async fn read_connect(
    stream: &mut Stream,
    session: &mut Session,
    app: &App,
    input: &mut Vec<u8>,
) -> Result<usize, Box<TurnedAway>> {
    loop {
        let read = stream.read_buf(input).await.map_err(|error| {
            let text = format!("the connection broke before CONNECT: {error}");
            TurnedAway::silently(Outcome::new(Kind::Refused, "parse", "broken", text))
        })?;
        if read == 0 {
            let text = "the peer closed the connection before CONNECT";
            return Err(TurnedAway::silently(Outcome::new(
                Kind::Refused,
                "parse",
                "peer_closed",
                text,
            )));
        }
        match session.handle_input(app.clock.elapsed(), input, &mut Vec::new()) {
            // The first read brings little, so that who says nothing costs little. No room is made beyond the largest packet: a stranger
            // would hold it.
            Ok(None) if input.len() == input.capacity() => {
                let missing = CONNECT_BYTES_MAX.saturating_sub(input.len()).max(1);
                input.reserve_exact(input.len().max(CONNECT_BYTES_USUAL).min(missing));
            }
            Ok(None) => {}
            Ok(Some((Event::Connect(_), length))) => return Ok(length),
            Ok(Some(_)) => return Err(TurnedAway::silently(violated(Violation::FirstPacket))),
            Err(violation) => {
                let outcome = violated(violation);
                return Err(match violation {
                    Violation::Malformed(Malformed::ProtocolLevel(_)) => {
                        TurnedAway::with(ConnectCode::UnacceptableProtocol, outcome)
                    }
                    _ => TurnedAway::silently(outcome),
                });
            }
        }
    }
}

fn violated(violation: Violation) -> Outcome {
    Outcome::new(Kind::Refused, "parse", violation.label(), violation.to_string())
        .advising("Only MQTT 3.1.1 over TLS is served here")
}

/// Whom a CONNECT claims to be.
struct Claimed {
    hub: Arc<Hub>,
    identity: IdentityId,
    model_id: Option<Arc<str>>,
    has_api_version: bool,
}

/// Hub and identity of a CONNECT, as it claims them.
fn identify(
    connect: &Connect<'_>,
    server_name: Option<&str>,
    origin: &mut Origin,
    app: &App,
) -> Result<Claimed, Box<TurnedAway>> {
    let refuse = |reason: &'static str, text: String, found: &str| {
        let outcome = Outcome::new(Kind::Refused, "parse", reason, text);
        TurnedAway::with(
            ConnectCode::NotAuthorized,
            outcome.comparing("host/device/?api-version=2021-04-12", found),
        )
    };
    let text = connect.username.unwrap_or_default();
    let parsed = connect
        .username
        .ok_or(InvalidUsername::Missing)
        .and_then(Username::parse);
    let username = parsed.map_err(|invalid| refuse("invalid_username", invalid.to_string(), text))?;
    *origin = origin
        .clone()
        .claiming(None, Some(username.device), username.module);
    let found = app.hubs.by_host(username.host);
    let hub = found.or_else(|| {
        server_name
            .filter(|_| username.host.is_empty())
            .and_then(|name| app.hubs.by_host(name))
    });
    let hub = hub.ok_or_else(|| {
        TurnedAway::refused(&Refusal::new(Reason::HostUnknown, Subject::Peer).finding(username.host))
    })?;
    *origin = origin
        .clone()
        .claiming(Some(hub.name().clone()), Some(username.device), username.module);
    let identity =
        identity_of(&username).map_err(|invalid| refuse("invalid_id", invalid.to_string(), text))?;
    let expected = identity.to_string();
    if connect.client_id.is_empty() && !connect.clean_session {
        // MQTT 3.1.3-8
        let outcome = Outcome::new(
            Kind::Refused,
            "parse",
            "empty_client_id",
            "the client id is empty",
        );
        return Err(TurnedAway::with(
            ConnectCode::IdentifierRejected,
            outcome.comparing(expected, ""),
        ));
    }
    if connect.client_id != expected {
        let text = "the client id is not the identity of the user name";
        let outcome = Outcome::new(Kind::Refused, "parse", "client_id_mismatch", text);
        return Err(TurnedAway::with(
            ConnectCode::NotAuthorized,
            outcome.comparing(expected, connect.client_id),
        ));
    }
    Ok(Claimed {
        hub,
        identity,
        model_id: username.model_id.as_deref().map(Into::into),
        has_api_version: username.api_version.is_some(),
    })
}

fn identity_of(username: &Username<'_>) -> Result<IdentityId, InvalidId> {
    let device = DeviceId::parse(username.device)?;
    Ok(match username.module {
        Some(module) => IdentityId::module(device, ModuleId::parse(module)?),
        None => IdentityId::device(device),
    })
}

/// The password, which is a token; an identity with a certificate has none.
fn password<'a>(connect: &Connect<'a>) -> Result<&'a str, Box<TurnedAway>> {
    std::str::from_utf8(connect.password.unwrap_or_default()).map_err(|_| {
        let outcome = Outcome::new(
            Kind::Refused,
            "parse",
            "token_malformed",
            "the password is no text",
        );
        TurnedAway::with(ConnectCode::NotAuthorized, outcome)
    })
}

/// A will may only be telemetry of the client itself (device-mqtt-https.md 4.5).
fn own_will(will: Option<&Will<'_>>, identity: &IdentityId) -> Result<Option<OwnedWill>, Box<TurnedAway>> {
    let Some(will) = will else {
        return Ok(None);
    };
    match Inbound::parse(will.topic, identity) {
        Ok(Inbound::Telemetry { .. }) => Ok(Some(OwnedWill {
            topic: will.topic.to_owned(),
            payload: will.payload.to_vec(),
            retain: will.retain,
        })),
        _ => Err(TurnedAway::silently(
            Outcome::new(
                Kind::Refused,
                "right",
                "will_topic",
                "the will goes to a topic that is not the client's telemetry",
            )
            .comparing("devices/{own id}/messages/events/", will.topic),
        )),
    }
}

/// The subscriptions that the client finds again; a clean session forgets them.
async fn session_of(
    connect: &Connect<'_>,
    proof: &Authenticated,
    app: &App,
) -> Result<Option<Subscriptions>, Box<TurnedAway>> {
    let stored = match app.sessions.load(proof).await {
        Ok(Some(_)) if connect.clean_session => app.sessions.forget(proof).await.map(|()| None),
        other => other,
    };
    stored.map_err(|error| {
        let text = error.detail().unwrap_or_else(|| error.message()).to_owned();
        let outcome = Outcome::new(Kind::Refused, "storage", "store_unavailable", text);
        TurnedAway::with(ConnectCode::ServerUnavailable, outcome)
    })
}

/// The bounds of every MQTT session, from the table.
pub(crate) fn limits(table: &Limits) -> mqtt::server::Limits {
    mqtt::server::Limits {
        connect_bytes_max: CONNECT_BYTES_MAX,
        packet_bytes_max: table.size(Limit::MqttPacketBytesMax),
        connect_patience: table.time(Limit::UnauthenticatedSecsMax),
        silence_max: table.time(Limit::KeepAliveSecsMax),
        outbound_window: WINDOW,
    }
}
