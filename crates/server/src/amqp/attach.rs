//! Whether a link may attach, and as what.

use std::net::IpAddr;
use std::sync::Arc;

use amqp::connection::AttachReply;
use amqp::performative::{Attach, Error, Role, SenderSettleMode};
use amqp::value::Value;
use hub::access::operation::{ReadEvents, ReceiveFeedback, ReceiveFileNotifications, SendCommands};
use hub::access::{Authorized, Gate, Operation, Refusal};
use hub::clock::Timestamp;
use hub::hub::Hub;
use hub::identity::IdentityId;
use hub::log::{PartitionInfo, Sequence};
use hub::network::Endpoint;
use hub::readers::{Displaced, GroupName, Reader as ReaderName};

use super::address::Address;
use super::device::{DeviceLink, LinkRole};
use super::feedback_link::{FeedbackLink, Source};
use super::filter::{PlaceKind, Start};
use super::grants::Grants;
use super::management::partition_of;
use super::reader::Reader;
use super::request::REQUEST_BYTES_MAX;
use super::{command, fault};
use crate::app::App;
use crate::demand::Demand;

/// The capability by which a reader asks for the state of its partition with each event.
const RUNTIME_METRIC: &str = "com.microsoft:enable-receiver-runtime-metric";

/// Descriptors and names of the filter that says where to start (amqp.md C.3).
const SELECTOR: &str = "apache.org:selector-filter:string";
const SELECTOR_CODES: [u64; 2] = [0x0000_468c_0000_0004, 0x0000_0137_0000_000a];

/// Resources that tokens must cover.
pub(super) const MANAGEMENT_PATH: &str = "messages/events/$management";
const COMMANDS_PATH: &str = "messages/devicebound";
const FEEDBACK_PATH: &str = "messages/servicebound/feedback";
const FILE_NOTIFICATIONS_PATH: &str = "messages/servicebound/filenotifications";

/// Requests that a peer may have on the way.
const REQUEST_CREDIT: u32 = 100;

/// Longest client identifier that is repeated in texts.
const NAME_CHARS_MAX: usize = 128;

/// What a link is, once it is let in.
#[derive(Debug)]
pub(super) enum Admission {
    /// A node that needs nothing more.
    Node(Node, AttachReply),
    /// A reader, whose start must be looked up.
    Reader(ReaderPlan),
    /// A link of a device, which must be proven unless it is there.
    Device(IdentityId, LinkRole),
}

/// What a link is attached to.
#[derive(Debug)]
pub(super) enum Node {
    /// Tokens come here.
    CbsRequests,
    /// Answers about tokens go here, under this name.
    CbsReplies(Box<str>),
    /// Questions about the event hub come here.
    ManagementRequests,
    /// Answers go here, under this name.
    ManagementReplies(Box<str>),
    /// The peer is told to go elsewhere.
    Redirected(Box<Error>),
    /// A partition is read.
    Reader(Box<Reader>),
    /// Commands come here.
    Commands(Box<Authorized<SendCommands>>),
    /// Feedback or file notifications go here.
    Feedback(Box<FeedbackLink>),
    /// A link of a device.
    Device(DeviceLink),
    /// Feedback of a device comes here, and is not looked at (amqp.md A.1).
    DeviceFeedback,
}

/// There is one for each link of each device of a connection; what other nodes need besides is boxed.
const _: () = assert!(size_of::<Node>() <= 24, "a node is three words");

impl Node {
    /// Asks again what its attach was asked: why no token of the connection covers the link any more.
    pub(super) fn refusal(&self, grants: &Grants, gate: &Gate) -> Option<Refusal> {
        match self {
            // Links that need no token, or not for long. The right of a device is its own, and looked at with it.
            Self::CbsRequests
            | Self::CbsReplies(_)
            | Self::Redirected(_)
            | Self::Device(_)
            | Self::DeviceFeedback => None,
            Self::ManagementRequests | Self::ManagementReplies(_) => {
                grants.authorize::<ReadEvents>(gate, MANAGEMENT_PATH).err()
            }
            Self::Reader(reader) => grants.authorize::<ReadEvents>(gate, reader.path()).err(),
            Self::Commands(_) => grants.authorize::<SendCommands>(gate, COMMANDS_PATH).err(),
            Self::Feedback(link) if link.is_of_files() => grants
                .authorize::<ReceiveFileNotifications>(gate, FILE_NOTIFICATIONS_PATH)
                .err(),
            Self::Feedback(_) => grants.authorize::<ReceiveFeedback>(gate, FEEDBACK_PATH).err(),
        }
    }
}

impl Node {
    /// The endpoint of the hub that it belongs to; none for links that only bring tokens. A device asks for itself.
    pub(super) fn endpoint(&self) -> Option<Endpoint> {
        match self {
            Self::CbsRequests | Self::CbsReplies(_) | Self::Device(_) => None,
            Self::DeviceFeedback => Some(Endpoint::Device),
            Self::ManagementRequests | Self::ManagementReplies(_) | Self::Redirected(_) | Self::Reader(_) => {
                Some(Endpoint::Reader)
            }
            Self::Commands(_) | Self::Feedback(_) => Some(Endpoint::Service),
        }
    }
}

/// A reader whose place in the partition is not known yet.
#[derive(Debug)]
pub(super) struct ReaderPlan {
    hub: Arc<Hub>,
    entity: String,
    group: String,
    partition: String,
    start: Start,
    name: ReaderName,
    settled: bool,
    with_metric: bool,
}

/// Decides all that can be decided at once.
pub(super) fn judge(
    attach: &Attach,
    hub: &Arc<Hub>,
    grants: &Grants,
    peer: IpAddr,
    app: &App,
) -> Result<Admission, JudgeError> {
    let address = match attach.role {
        Role::Sender => attach.target.as_ref().and_then(|target| target.address.as_ref()),
        Role::Receiver => attach.source.as_ref().and_then(|source| source.address.as_ref()),
    };
    let name = address.and_then(Value::as_str).unwrap_or_default().to_owned();
    let address = Address::parse(&name);
    let sends = attach.role == Role::Sender;
    let demand = address.demand(attach.role);
    if let Some(endpoint) = endpoint_of(&address, sends && grants.any().is_some()) {
        hub.gate().admit(endpoint, peer)?;
    }
    let reply_name = || {
        let target = attach.target.as_ref().and_then(|target| target.address.as_ref());
        Box::from(target.and_then(Value::as_str).unwrap_or_default())
    };
    let requests = || AttachReply {
        message_bytes_max: REQUEST_BYTES_MAX.max(1_048_576),
        credit_window: REQUEST_CREDIT,
        ..AttachReply::default()
    };
    match address {
        Address::Cbs if sends => Ok(Admission::Node(Node::CbsRequests, requests())),
        Address::Cbs => Ok(Admission::Node(
            Node::CbsReplies(reply_name()),
            AttachReply::default(),
        )),
        Address::Management { .. } => {
            authorize::<ReadEvents>(demand, hub, grants, MANAGEMENT_PATH)?;
            if sends {
                Ok(Admission::Node(Node::ManagementRequests, requests()))
            } else {
                Ok(Admission::Node(
                    Node::ManagementReplies(reply_name()),
                    AttachReply::default(),
                ))
            }
        }
        Address::HubEvents { rest } => {
            authorize::<ReadEvents>(demand, hub, grants, &format!("messages/events{rest}"))?;
            let redirect = redirect(hub, &rest, app.amqp_port());
            Ok(Admission::Node(
                Node::Redirected(Box::new(redirect)),
                AttachReply {
                    credit_window: 0,
                    ..AttachReply::default()
                },
            ))
        }
        Address::Entity { entity, partition } if sends => {
            check_entity(hub, &entity)?;
            if let Some(partition) = partition {
                partition_of(hub, &partition)
                    .ok_or_else(|| fault::entity_not_found(&format!("{entity}/{partition}")))?;
            }
            // The built-in endpoint is written by devices alone.
            let text = "Unauthorized access. 'Send' claim(s) are required to perform this operation.";
            Err(Error::new(fault::UNAUTHORIZED, text).into())
        }
        Address::Partition { .. } if sends => Err(Error::new(
            fault::NOT_ALLOWED,
            "Partitions of a consumer group are read, not written.",
        )
        .into()),
        Address::Partition {
            entity,
            group,
            partition,
        } => {
            let path = format!("messages/events/ConsumerGroups/{group}/Partitions/{partition}");
            authorize::<ReadEvents>(demand, hub, grants, &path)?;
            reader_plan(attach, hub, entity, group, partition)
                .map(Admission::Reader)
                .map_err(Into::into)
        }
        Address::Feedback if sends && grants.any().is_some() => {
            Ok(Admission::Node(Node::DeviceFeedback, requests()))
        }
        Address::Commands | Address::Feedback | Address::FileNotifications => {
            service_link(attach, hub, grants, app, &address, demand)
                .map(|(node, reply)| Admission::Node(node, reply))
        }
        Address::Device { identity, node } => {
            let role = LinkRole::of(node, attach.role, &identity)?;
            Ok(Admission::Device(identity, role))
        }
        Address::Entity { .. } | Address::Unknown => Err(fault::entity_not_found(&name).into()),
    }
}

/// Why a link is not let in: an error for the peer, and a refusal when it was a matter of rights.
#[derive(Debug)]
pub(super) struct JudgeError {
    pub(super) error: Error,
    pub(super) refusal: Option<Box<Refusal>>,
}

impl From<Error> for JudgeError {
    fn from(error: Error) -> Self {
        Self { error, refusal: None }
    }
}

impl From<Refusal> for JudgeError {
    fn from(refusal: Refusal) -> Self {
        Self {
            error: fault::of_refusal(&refusal),
            refusal: Some(Box::new(refusal)),
        }
    }
}

/// The endpoint of the hub that an address belongs to; none for links that only bring tokens.
fn endpoint_of(address: &Address, sends_with_token: bool) -> Option<Endpoint> {
    match address {
        Address::Cbs | Address::Unknown => None,
        Address::Management { .. }
        | Address::HubEvents { .. }
        | Address::Entity { .. }
        | Address::Partition { .. } => Some(Endpoint::Reader),
        // Devices send to the address of which services receive, and nobody looks at it.
        Address::Feedback if sends_with_token => Some(Endpoint::Device),
        Address::Commands | Address::Feedback | Address::FileNotifications => Some(Endpoint::Service),
        Address::Device { .. } => Some(Endpoint::Device),
    }
}

/// The operation `O` for a link. The table of demands is what the documentation is made from: nothing else is asked of a peer.
fn authorize<O: Operation>(
    demand: Demand,
    hub: &Hub,
    grants: &Grants,
    path: &str,
) -> Result<Authorized<O>, JudgeError> {
    if !demand.is_for::<O>() {
        let operation = O::DEFINITION.name;
        tracing::error!(
            operation,
            path,
            "a link asks for what its row in the table of demands does not say"
        );
        return Err(Error::new(fault::INTERNAL, "The link cannot be attached at the moment.").into());
    }
    Ok(grants.authorize(hub.gate(), path)?)
}

/// A link for commands, feedback or notifications of uploads: each goes one way only (amqp.md B).
fn service_link(
    attach: &Attach,
    hub: &Hub,
    grants: &Grants,
    app: &App,
    address: &Address,
    demand: Demand,
) -> Result<(Node, AttachReply), JudgeError> {
    let is_commands = *address == Address::Commands;
    if is_commands != (attach.role == Role::Sender) {
        let text = "Commands are sent, feedback and file notifications are received.";
        return Err(Error::new(fault::NOT_ALLOWED, text).into());
    }
    let receiver = AttachReply {
        tracked: true,
        ..AttachReply::default()
    };
    Ok(match address {
        Address::Commands => (
            Node::Commands(Box::new(authorize(demand, hub, grants, COMMANDS_PATH)?)),
            AttachReply {
                message_bytes_max: command::MESSAGE_BYTES_MAX,
                credit_window: command::CREDIT,
                ..AttachReply::default()
            },
        ),
        Address::Feedback => {
            let right = authorize(demand, hub, grants, FEEDBACK_PATH)?;
            let settled = attach.snd_settle_mode == SenderSettleMode::Settled;
            let source = Source::Feedback(Arc::clone(&app.feedback), right);
            (
                Node::Feedback(Box::new(FeedbackLink::new(source, settled))),
                receiver,
            )
        }
        _ => {
            let right = authorize(demand, hub, grants, FILE_NOTIFICATIONS_PATH)?;
            let settled = attach.snd_settle_mode == SenderSettleMode::Settled;
            let source = Source::Files(Arc::clone(app.files.notifications()), right);
            (
                Node::Feedback(Box::new(FeedbackLink::new(source, settled))),
                receiver,
            )
        }
    })
}

fn check_entity(hub: &Hub, entity: &str) -> Result<(), Error> {
    if entity.eq_ignore_ascii_case(hub.name().as_str()) {
        Ok(())
    } else {
        Err(fault::entity_not_found(&format!("sb://{}/{entity}", hub.host())))
    }
}

/// Where the peer finds the event hub (amqp.md C.2).
fn redirect(hub: &Hub, rest: &str, amqp_port: u16) -> Error {
    let host = hub.host();
    let entity = hub.name();
    let rest = if rest.is_empty() { "/" } else { rest };
    let text = |text: &str| Value::String(text.to_owned());
    let info = [
        ("hostname", text(host)),
        ("network-host", text(host)),
        ("port", Value::Int(i32::from(amqp_port))),
        (
            "address",
            text(&format!("amqps://{host}:{amqp_port}/{entity}{rest}")),
        ),
    ];
    let pairs = info
        .into_iter()
        .map(|(key, value)| (Value::Symbol(key.to_owned()), value))
        .collect();
    let mut error = Error::new(
        fault::REDIRECT,
        "The built-in endpoint is read at its Event Hubs-compatible address.",
    );
    error.info = Some(Value::Map(pairs));
    error
}

fn reader_plan(
    attach: &Attach,
    hub: &Arc<Hub>,
    entity: String,
    group: String,
    partition: String,
) -> Result<ReaderPlan, Error> {
    check_entity(hub, &entity)?;
    let property = |name: &str| {
        attach
            .properties
            .as_ref()
            .and_then(|properties| properties.map_get(name))
    };
    let epoch = property("com.microsoft:epoch").and_then(Value::as_i64);
    let name = property("com.microsoft:receiver-name").and_then(Value::as_str);
    let name = name.map(|name| name.chars().take(NAME_CHARS_MAX).collect());
    let start = match attach.source.as_ref().and_then(|source| source.filter.as_ref()) {
        Some(filter) => start_of(filter, &attach.name)?,
        None => Start::Earliest,
    };
    Ok(ReaderPlan {
        hub: Arc::clone(hub),
        entity,
        group,
        partition,
        start,
        name: ReaderName { name, epoch },
        settled: attach.snd_settle_mode == SenderSettleMode::Settled,
        with_metric: attach
            .desired_capabilities
            .iter()
            .any(|capability| capability == RUNTIME_METRIC),
    })
}

/// The start in a filter set. Filters are recognised by their descriptor; a client that describes none is taken by its key.
fn start_of(filter: &Value, link: &str) -> Result<Start, Error> {
    let Value::Map(filters) = filter else {
        return Ok(Start::Earliest);
    };
    for (key, filter) in filters {
        let (is_selector, value) = match filter {
            Value::Described(descriptor, value) => {
                let by_code = descriptor
                    .as_u64()
                    .is_some_and(|code| SELECTOR_CODES.contains(&code));
                (by_code || descriptor.as_str() == Some(SELECTOR), value.as_ref())
            }
            value => (key.as_str() == Some(SELECTOR), value),
        };
        if !is_selector {
            continue;
        }
        let Some(expression) = value.as_str() else {
            let text = format!(
                "The link '{link}' contains invalid filter type. System only support Jms or Apache selector filter type."
            );
            return Err(Error::new(fault::NOT_ALLOWED, &text));
        };
        return Start::parse(expression).map_err(|invalid| Error::new(fault::ARGUMENT, &invalid.to_string()));
    }
    Ok(Start::Earliest)
}

impl ReaderPlan {
    /// Looks up the start and takes a place. Gives the reader, how its link is accepted, and how it hears that it lost the place.
    pub(super) async fn carry_out(self) -> Result<(Reader, AttachReply, Displaced), Error> {
        let not_found = || {
            let path = format!(
                "{}/ConsumerGroups/{}/Partitions/{}",
                self.entity, self.group, self.partition
            );
            fault::entity_not_found(&format!("sb://{}/{path}", self.hub.host()))
        };
        let group = GroupName::parse(&self.group).map_err(|_| not_found())?;
        let internal = |error: &dyn std::fmt::Display| {
            tracing::error!(%error, "a reader could not be attached");
            Error::new(fault::INTERNAL, "The reader cannot be attached at the moment.")
        };
        if !self
            .hub
            .groups()
            .exists(&group)
            .await
            .map_err(|error| internal(&error))?
        {
            return Err(not_found());
        }
        let (partition, info) = partition_of(&self.hub, &self.partition).ok_or_else(not_found)?;
        let start = match self.start {
            Start::Earliest => info.first,
            Start::Latest => info.next,
            Start::At {
                kind,
                sequence,
                inclusive,
            } => place(kind, sequence, inclusive, &info)?,
            Start::Time { time, inclusive } => {
                let log = self.hub.telemetry().log();
                let from = if inclusive { time } else { after_millisecond(time) };
                log.find(partition, from)
                    .await
                    .map_err(|error| internal(&error))?
            }
        };
        let (slot, displaced) = self
            .hub
            .readers()
            .take(&group, partition, self.name)
            .map_err(|refusal| fault::of_reader_refusal(&refusal))?;
        let offered = if self.with_metric {
            vec![RUNTIME_METRIC.to_owned()]
        } else {
            Vec::new()
        };
        let reply = AttachReply {
            message_bytes_max: 262_144,
            tracked: false,
            offered_capabilities: offered,
            ..AttachReply::default()
        };
        let path = format!(
            "messages/events/ConsumerGroups/{}/Partitions/{}",
            self.group, self.partition
        );
        Ok((
            Reader::new(path, partition, start, self.with_metric, self.settled, slot),
            reply,
            displaced,
        ))
    }
}

/// Times on the wire are in milliseconds: "after" means not in that one.
fn after_millisecond(time: Timestamp) -> Timestamp {
    Timestamp::from_millis(time.as_millis().saturating_add(1))
}

/// The first record after, or at, a place that must exist or have existed (amqp.md C.3).
fn place(kind: PlaceKind, at: Sequence, inclusive: bool, info: &PartitionInfo) -> Result<Sequence, Error> {
    let start = if inclusive { at.0 } else { at.0.saturating_add(1) };
    if start > info.next.0 {
        let last = i64::try_from(info.next.0).unwrap_or(i64::MAX) - 1;
        let (what, long) = match kind {
            PlaceKind::Offset => ("offset", "offset"),
            PlaceKind::SequenceNumber => ("sequence number", "sequence number"),
        };
        let text = format!(
            "The supplied {what} '{}' is invalid. The last {long} in the system is '{last}'",
            at.0
        );
        return Err(Error::new(fault::ARGUMENT, &text));
    }
    Ok(Sequence(start.max(info.first.0)))
}
