//! From a request to its operation: hub, API version, credential, body, in this order; each refusal leaves a record.

mod body;

use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use hub::access::{
    Admitted, Authenticated, Authorized, Credential, ModuleCaller, Operation, Provenance, Reason, Refusal,
    Subject, Usage,
};
use hub::error::{Code, Error};
use hub::failures::Claim;
use hub::hub::Hub;
use hub::identity::{DeviceId, IdentityId, InvalidId, ModuleId};
use hub::network::Endpoint;
use hub::records::{Origin, Outcome};
use hyper::body::Incoming;
use hyper::header::{AUTHORIZATION, HOST, HeaderMap, IF_MATCH};
use hyper::http::request::Parts;
use hyper::{Method, Request};
use percent_encoding::percent_decode_str;

use crate::app::App;
use crate::refusal::{closing_outcome_of, doubtful_outcome_of, outcome_of};
use crate::tracking::Tracking;
use crate::websocket::Endpoint as WebSocketEndpoint;

use super::connection::Peer;
use super::demand::Demand;
use super::reply::{self, Reply};
use super::route::{NoRoute, Route, Target, query_flag, query_parameter};
use super::{
    advice, arm, audit, authorities, blobs, commands, device, events, explain, explain_auth, feedback, files,
    management, master_key, methods, modules, policies, registry, revocation, roles, settings, twins,
    upgrade,
};

/// API versions that are known; `docs` of Azure list them per client (service-rest.md 1).
const API_VERSIONS: [&str; 13] = [
    "2016-02-03",
    "2016-11-14",
    "2017-06-30",
    "2017-11-08-preview",
    "2018-04-01",
    "2018-06-30",
    "2019-03-30",
    "2019-10-01",
    "2020-03-13",
    "2020-05-31-preview",
    "2020-09-30",
    "2021-04-12",
    "2024-03-31",
];

/// How often an open stream is asked whether its ground still holds.
const GROUND_PERIOD: Duration = Duration::from_millis(500);

/// A request whose hub is known.
pub(super) struct Call {
    pub(super) app: Arc<App>,
    pub(super) hub: Arc<Hub>,
    pub(super) tracking: Tracking,
    admitted: Admitted,
    peer: Arc<Peer>,
    head: Parts,
    body: Option<Incoming>,
    // What the route asks of its caller.
    demand: Demand,
}

/// Who asks and with what, before it is said of which hub.
pub(super) struct Caller {
    app: Arc<App>,
    tracking: Tracking,
    peer: Arc<Peer>,
    head: Parts,
}

impl Caller {
    pub(super) fn new(app: Arc<App>, peer: Arc<Peer>, tracking: Tracking, head: Parts) -> Self {
        Self {
            app,
            tracking,
            peer,
            head,
        }
    }

    pub(super) fn app(&self) -> &App {
        &self.app
    }

    /// The same request, of a hub whose network rules let the caller in.
    pub(super) fn call(&self, hub: &Arc<Hub>, body: Option<Incoming>, demand: Demand) -> Result<Call, Error> {
        self.try_call(hub, body, demand)
            .map_err(|refusal| self.refuse(hub, &refusal))
    }

    fn try_call(&self, hub: &Arc<Hub>, body: Option<Incoming>, demand: Demand) -> Result<Call, Refusal> {
        let admitted = hub
            .gate()
            .admit_any(&[Endpoint::Service], self.peer.address.ip())?;
        Ok(Call {
            app: Arc::clone(&self.app),
            hub: Arc::clone(hub),
            admitted,
            tracking: self.tracking.clone(),
            peer: Arc::clone(&self.peer),
            head: self.head.clone(),
            body,
            demand,
        })
    }

    fn refuse(&self, hub: &Hub, refusal: &Refusal) -> Error {
        let origin = Origin::new(self.peer.address, "https").claiming(Some(hub.name().clone()), None, None);
        self.app.records.leave(origin, outcome_of(refusal));
        refusal.to_peer()
    }

    /// The hubs in which the caller may do the operation `O`: at least one, or a refusal that leaves a record.
    pub(super) fn hubs_with<O: Operation>(&self) -> Result<Vec<Arc<Hub>>, Error> {
        let mut allowed = Vec::new();
        let mut first_refusal = None;
        for hub in self.app.hubs.all() {
            let call = self.try_call(&hub, None, Demand::Operation(O::DEFINITION));
            match call.and_then(|call| call.try_authorize::<O>()) {
                Ok(_) => allowed.push(hub),
                Err(refusal) => first_refusal = first_refusal.or(Some((hub, refusal))),
            }
        }
        match first_refusal {
            Some((hub, refusal)) if allowed.is_empty() => Err(self.refuse(&hub, &refusal)),
            _ => Ok(allowed),
        }
    }
}

/// Answers a request; never fails.
pub(super) async fn answer(request: Request<Incoming>, app: Arc<App>, peer: Arc<Peer>) -> Reply {
    let mut random = [0; 16];
    app.entropy.fill(&mut random);
    let tracking = Tracking::new(random, app.clock.now());
    if blobs::is_address(request.uri().path()) {
        return blobs::answer(request, app, &peer, &tracking).await;
    }
    let is_head = request.method() == Method::HEAD;
    let answered = match WebSocketEndpoint::find(request.uri().path()) {
        Some(endpoint) => upgrade::answer(endpoint, request, &app, &peer),
        None if arm::is_address(request.uri().path()) => Ok(arm::answer(request, app, peer, &tracking).await),
        None => dispatch(request, app, peer, &tracking).await,
    };
    let mut reply = answered.unwrap_or_else(|error| reply::error(&error, &tracking));
    reply::mark(&mut reply, &tracking);
    if is_head {
        *reply.body_mut() = reply::whole(Bytes::new());
    }
    reply
}

async fn dispatch(
    request: Request<Incoming>,
    app: Arc<App>,
    peer: Arc<Peer>,
    tracking: &Tracking,
) -> Result<Reply, Error> {
    let (head, body) = request.into_parts();
    let hub = find_hub(&head, &app, &peer)?;
    let route = Route::find(&head.method, head.uri.path()).map_err(|missing| match missing {
        NoRoute::Path => Error::peer(Code::GenericNotFound, "There is nothing at this path"),
        NoRoute::Method => Error::peer(
            Code::GenericMethodNotAllowed,
            "The path does not offer this method",
        ),
    })?;
    if !is_own(head.uri.path()) {
        check_api_version(&head)?;
    }
    let admitted = hub
        .gate()
        .admit_any(route.endpoints(), peer.address.ip())
        .and_then(|admitted| hub.admit_tls(peer.tls).map(|()| admitted))
        .map_err(|refusal| {
            let origin = Origin::new(peer.address, "https").claiming(Some(hub.name().clone()), None, None);
            app.records.leave(origin, outcome_of(&refusal));
            refusal.to_peer()
        })?;
    let call = Call {
        app,
        hub,
        admitted,
        tracking: tracking.clone(),
        peer,
        head,
        body: Some(body),
        demand: route.demand(),
    };
    call.hub.gate().prepare(call.token()).await;
    carry_out(route, call).await
}

async fn carry_out(route: Route, call: Call) -> Result<Reply, Error> {
    match route {
        Route::PutDevice(id) => registry::put(call, &id).await,
        Route::GetDevice(id) => registry::get(&call, &id).await,
        Route::DeleteDevice(id) => registry::delete(&call, &id).await,
        Route::ListDevices => registry::list(&call).await,
        Route::BulkDevices => registry::bulk(call).await,
        Route::RegenerateKeys => registry::regenerate(call).await,
        Route::DeviceStatistics => registry::device_statistics(&call).await,
        Route::ServiceStatistics => registry::service_statistics(&call),
        Route::ListModules(device) => modules::list(&call, &device).await,
        Route::PutModule(device, module) => modules::put(call, &device, &module).await,
        Route::GetModule(device, module) => modules::get(&call, &device, &module).await,
        Route::DeleteModule(device, module) => modules::delete(&call, &device, &module).await,
        Route::GetTwin(target) => twins::get(&call, &target).await,
        Route::PatchTwin(target) => twins::patch(call, &target).await,
        Route::PutTwin(target) => twins::put(call, &target).await,
        Route::WatchTwin(target) => twins::watch(&call, &target).await,
        Route::InvokeMethod(target) => methods::invoke(call, &target).await,
        Route::SendCommand(target) => commands::send(call, &target).await,
        Route::PurgeCommands(target) => commands::purge(&call, &target).await,
        Route::SendTelemetry(target) => device::send(call, &target).await,
        Route::ReceiveCommand(target) => device::receive(&call, &target).await,
        Route::SettleCommand(target, lock) => device::settle(&call, &target, &lock).await,
        Route::AbandonCommand(target, lock) => device::abandon(&call, &target, &lock).await,
        Route::BeginUpload(target) => files::begin(call, &target).await,
        Route::CompleteUpload(target, id) => files::complete(call, &target, id).await,
        Route::ReceiveFeedback => feedback::receive(&call).await,
        Route::CompleteFeedback(lock) => feedback::complete(&call, &lock).await,
        Route::AbandonFeedback(lock) => feedback::abandon(&call, &lock).await,
        Route::Explain(target) => explain::identity(&call, &target).await,
        Route::ExplainAuth => explain_auth::explain(call).await,
        Route::GetSettings => settings::get(&call),
        Route::PatchSettings => settings::patch(call).await,
        Route::Status => management::status(&call).await,
        Route::MasterKeyStatus => master_key::status(&call).await,
        Route::RotateMasterKey => master_key::rotate(&call).await,
        Route::ListConsumerGroups => management::list_groups(&call).await,
        Route::PutConsumerGroup(name) => management::put_group(&call, &name).await,
        Route::DeleteConsumerGroup(name) => management::delete_group(&call, &name).await,
        Route::ListAuthorities => authorities::list(&call),
        Route::GetAuthority(name) => authorities::get(&call, &name),
        Route::PutAuthority(name) => authorities::put(call, &name).await,
        Route::DeleteAuthority(name) => authorities::delete(&call, &name).await,
        Route::DrawAuthorityCode(name) => authorities::code(&call, &name).await,
        Route::VerifyAuthority(name) => authorities::verify(call, &name).await,
        Route::ListPolicies => policies::list(&call),
        Route::CreatePolicy => policies::create(call).await,
        Route::GetPolicy(name) => policies::get(&call, &name).await,
        Route::PutPolicy(name) => policies::put(call, &name).await,
        Route::DeletePolicy(name) => policies::delete(&call, &name).await,
        Route::RotatePolicy(name) => policies::rotate(call, &name).await,
        Route::ListIssuers => roles::list_issuers(&call),
        Route::PutIssuer(name) => roles::put_issuer(call, &name).await,
        Route::DeleteIssuer(name) => roles::delete_issuer(&call, &name).await,
        Route::ListRoles => roles::list_roles(&call),
        Route::PutRole(name) => roles::put_role(call, &name).await,
        Route::DeleteRole(name) => roles::delete_role(&call, &name).await,
        Route::ListAssignments => roles::list_assignments(&call),
        Route::Assign => roles::assign(call).await,
        Route::Unassign(id) => roles::unassign(&call, &id).await,
        Route::Revocation(route) => revocation::answer(call, &route).await,
        Route::Events => events::records(&call),
        Route::Advice => advice::advice(&call).await,
        Route::Audit => audit::page(&call).await,
        Route::ExportAudit => audit::export(&call).await,
        Route::CheckAudit => audit::check(&call).await,
        Route::Monitor => events::monitor(&call),
    }
}

/// The Host header names the hub; without one, the name of the TLS handshake (device-mqtt-https.md 1.1).
pub(super) fn find_hub(head: &Parts, app: &App, peer: &Peer) -> Result<Arc<Hub>, Error> {
    let host = head.headers.get(HOST).and_then(|value| value.to_str().ok());
    let host = host
        .or(head.uri.host())
        .or(peer.server_name.as_deref())
        .unwrap_or_default();
    app.hubs.by_host(host).ok_or_else(|| {
        let refusal = Refusal::new(Reason::HostUnknown, Subject::Peer).finding(host);
        app.records
            .leave(Origin::new(peer.address, "https"), outcome_of(&refusal));
        refusal.to_peer()
    })
}

/// Whether a path is for those who manage hubs.
fn is_management(path: &str) -> bool {
    is_own(path) || arm::is_address(path)
}

/// Whether a path is one of Ironhub's own; those of Azure's need an `api-version`.
fn is_own(path: &str) -> bool {
    const OWN: &str = "/$ironhub/";
    path.get(..OWN.len())
        .is_some_and(|start| start.eq_ignore_ascii_case(OWN))
}

/// Management clients of Azure write `Bearer` before whatever their credential returns, a shared access signature too.
fn signature_of_bearer(text: &str) -> &str {
    const SIGNATURE: &str = "SharedAccessSignature ";
    match text.split_once(' ') {
        Some((scheme, rest))
            if scheme.eq_ignore_ascii_case("bearer")
                && rest
                    .get(..SIGNATURE.len())
                    .is_some_and(|start| start.eq_ignore_ascii_case(SIGNATURE)) =>
        {
            rest
        }
        _ => text,
    }
}

fn check_api_version(head: &Parts) -> Result<(), Error> {
    match query_parameter(head.uri.query(), "api-version") {
        Some(version) if API_VERSIONS.contains(&version.as_str()) => Ok(()),
        _ => Err(Error::peer(Code::InvalidProtocolVersion, "BadRequest")),
    }
}

impl Call {
    /// Demands that the caller may do the operation `O`. Refusals leave a record, the peer learns only that it is not authorised.
    pub(super) fn authorize<O: Operation>(&self) -> Result<Authorized<O>, Error> {
        self.check_demand::<O>()?;
        let (failures, hub, from) = (&self.app.failures, self.hub.name(), self.peer_address());
        let claim = self.hub.gate().claim_of(self.token());
        let decision = failures.check(hub, &claim, from).and_then(|()| {
            self.try_authorize()
                .map_err(|refusal| failures.note(hub, &claim, from, refusal))
        });
        let proof = decision.map_err(|refusal| self.refuse(&refusal))?;
        failures.vouch(hub, &claim, from);
        Ok(proof)
    }

    /// Demands that the caller may do the operation `O`, or is the edge device whose modules are asked for.
    pub(super) async fn authorize_modules<O: Operation>(
        &self,
        device: &DeviceId,
    ) -> Result<ModuleCaller<O>, Error> {
        self.check_demand::<O>()?;
        let gate = self.hub.gate();
        let credential = Credential::sas(self.token()).with_certificates(&self.peer.certificates);
        let claim = if self.token().is_empty() && !self.peer.certificates.is_empty() {
            Claim::Identity(IdentityId::device(device.clone()))
        } else {
            gate.claim_of(self.token())
        };
        let path = self.path();
        let decision = gate.authorize_modules(&credential, device, &path);
        let decision = self
            .app
            .try_login(self.hub.name(), &claim, self.peer_address(), decision)
            .await;
        let caller = decision.map_err(|refusal| self.refuse(&refusal))?;
        let endpoint = match &caller {
            ModuleCaller::Service(_) => Endpoint::Service,
            ModuleCaller::EdgeDevice(_) => Endpoint::Device,
        };
        gate.admit(endpoint, self.peer_address())
            .map_err(|refusal| self.refuse(&refusal))?;
        self.peer.note_known();
        Ok(caller.coming_from(self.provenance()))
    }

    /// Demands that the peer is the device or module itself; `endpoint` is the path below it that the request is for.
    pub(super) async fn authenticate(
        &self,
        identity: &IdentityId,
        endpoint: &str,
    ) -> Result<Authenticated, Error> {
        let credential = Credential::sas(self.token()).with_certificates(&self.peer.certificates);
        let gate = self.hub.gate();
        let claim = Claim::Identity(identity.clone());
        let decision = gate.authenticate_device(identity, &credential, Usage::Request(endpoint));
        let decision = self
            .app
            .try_login(self.hub.name(), &claim, self.peer_address(), decision)
            .await;
        match decision {
            Ok(proof) => {
                self.peer.note_known();
                // One request leaves no record of its own, so one of many must do.
                if let Some(doubt) = proof.doubt().filter(|doubt| doubt.is_news) {
                    self.app
                        .records
                        .leave(self.origin_of(identity), doubtful_outcome_of(doubt));
                }
                Ok(proof.admitted(self.admitted.clone()))
            }
            Err(refusal) => {
                let origin = self.origin_of(identity);
                self.app.leave_refusal(origin, &refusal);
                Err(refusal.to_peer())
            }
        }
    }

    fn origin_of(&self, identity: &IdentityId) -> Origin {
        Origin::new(self.peer.address, "https").claiming(
            Some(self.hub.name().clone()),
            Some(identity.device.as_str()),
            identity.module.as_ref().map(ModuleId::as_str),
        )
    }

    /// The host, and its port if it is not the usual one, under which the peer reaches the hub.
    pub(super) fn host(&self) -> &str {
        self.header(&HOST).unwrap_or_else(|| self.hub.host())
    }

    /// The address that the request comes from.
    pub(super) fn peer_address(&self) -> IpAddr {
        self.peer.address.ip()
    }

    /// Resolves when a stream that was opened for the operation `O` has lost its ground: the policy or its key is gone, or the address is denied
    /// now. The expiry of its token does not end a stream.
    pub(super) fn ground_lost<O: Operation>(&self) -> impl Future<Output = ()> + Send + use<O> {
        let (app, hub, admitted) = (
            Arc::clone(&self.app),
            Arc::clone(&self.hub),
            self.admitted.clone(),
        );
        let (token, path, address) = (self.token().to_owned(), self.path(), self.peer.address);
        async move {
            loop {
                tokio::time::sleep(GROUND_PERIOD).await;
                let gate = hub.gate();
                let refusal = match gate.admit(admitted.endpoint(), admitted.address()) {
                    Err(refusal) => refusal,
                    Ok(_) => match gate.authorize_service::<O>(&token, &path) {
                        Err(refusal) if refusal.reason != Reason::TokenExpired => refusal,
                        _ => continue,
                    },
                };
                let origin = Origin::new(address, "https").claiming(Some(hub.name().clone()), None, None);
                app.records.leave(origin, closing_outcome_of(&refusal));
                return;
            }
        }
    }

    /// The table of demands is what the documentation is made from: nothing else is asked of a caller.
    fn check_demand<O: Operation>(&self) -> Result<(), Error> {
        if self.demand.is_for::<O>() {
            return Ok(());
        }
        Err(Error::bug(format!(
            "the route asks for {}, which its row in the table of demands does not say",
            O::DEFINITION.name
        )))
    }

    fn try_authorize<O: Operation>(&self) -> Result<Authorized<O>, Refusal> {
        let proof = self.hub.gate().authorize_service(self.token(), &self.path())?;
        self.peer.note_known();
        Ok(proof.coming_from(self.provenance()))
    }

    /// Where the request comes from, for the audit trail.
    fn provenance(&self) -> Arc<Provenance> {
        Arc::new(Provenance {
            peer: self.peer.address,
            protocol: "https",
            tracking_id: self.tracking.id.as_str().into(),
        })
    }

    /// Clients of the management plane put `Bearer` before whatever their credential returns, a shared access signature too.
    fn token(&self) -> &str {
        let text = self.header(&AUTHORIZATION).unwrap_or_default();
        if is_management(self.head.uri.path()) {
            signature_of_bearer(text)
        } else {
            text
        }
    }

    /// The path as tokens name it: percent-decoded once, without the first slash.
    fn path(&self) -> String {
        let path = self.head.uri.path();
        let path = path.strip_prefix('/').unwrap_or(path);
        percent_decode_str(path).decode_utf8_lossy().into_owned()
    }

    fn refuse(&self, refusal: &Refusal) -> Error {
        let (device, module) = match &refusal.subject {
            Subject::Identity(identity) => (Some(identity.device.as_str()), identity.module.as_ref()),
            Subject::Policy(_) | Subject::Principal(_) | Subject::Peer => (None, None),
        };
        let hub = Some(self.hub.name().clone());
        let origin =
            Origin::new(self.peer.address, "https").claiming(hub, device, module.map(ModuleId::as_str));
        self.app.leave_refusal(origin, refusal);
        refusal.to_peer_on(self.head.method.as_str(), self.head.uri.path())
    }

    /// Leaves a record of a request of a device that was refused for another reason than its credential.
    pub(super) fn leave(&self, identity: &IdentityId, outcome: Outcome) {
        let hub = Some(self.hub.name().clone());
        let module = identity.module.as_ref().map(ModuleId::as_str);
        let origin =
            Origin::new(self.peer.address, "https").claiming(hub, Some(identity.device.as_str()), module);
        self.app.records.leave(origin, outcome);
    }

    /// The operation `O` if the caller may do it, for what is shown beside what it asked for: its absence refuses nothing.
    pub(super) fn holds<O: Operation>(&self) -> Option<Authorized<O>> {
        self.try_authorize().ok()
    }

    /// The device or module that a path names.
    pub(super) fn identity(target: &Target) -> Result<IdentityId, Error> {
        let invalid = |error: InvalidId| Error::peer(Code::IotHubFormatError, error.to_string());
        let device = DeviceId::parse(&target.device).map_err(invalid)?;
        Ok(match &target.module {
            Some(module) => IdentityId::module(device, ModuleId::parse(module).map_err(invalid)?),
            None => IdentityId::device(device),
        })
    }

    /// The If-Match header, if it is text.
    pub(super) fn if_match(&self) -> Option<&str> {
        self.header(&IF_MATCH)
    }

    /// A query parameter, decoded.
    pub(super) fn query(&self, name: &str) -> Option<String> {
        query_parameter(self.head.uri.query(), name)
    }

    /// Whether the query names a flag.
    pub(super) fn has_flag(&self, name: &str) -> bool {
        query_flag(self.head.uri.query(), name)
    }

    /// All headers, names in lower case.
    pub(super) fn headers(&self) -> &HeaderMap {
        &self.head.headers
    }

    /// The name of a header as the peer spelled it, if it is one of a property; asked for once per header.
    pub(super) fn spelled(&self, name: &str) -> Option<String> {
        self.peer.spellings.take(name)
    }

    fn header(&self, name: &hyper::header::HeaderName) -> Option<&str> {
        self.head.headers.get(name).and_then(|value| value.to_str().ok())
    }
}
