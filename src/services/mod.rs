//! The built-in services: what `--service NAME@PORT` names, each in a file of its own.
//!
//! [`Services`] is an application of the stack that chooses the service by the local port. Nothing is buffered outside
//! the stack: what cannot be written stays unread, and reading goes on in `on_writable`. State for one connection is
//! kept only while something is pending on it, in a bounded table found through the connection's token.
#![forbid(unsafe_code)]

mod calendar;
mod chargen;
mod close;
mod daytime;
mod discard;
mod echo;
pub mod http;
mod sessions;

pub use calendar::Calendar;

use crate::ledger::Ending;
use crate::stack::{App, ConnId, Cx};
use sessions::Sessions;
use std::str::FromStr;
use strum::IntoEnumIterator;

/// A service by name.
#[derive(
    Clone, Copy, Debug, PartialEq, Eq, strum::EnumIter, strum::IntoStaticStr, strum::EnumString, strum::Display,
)]
#[strum(serialize_all = "snake_case")]
pub enum Service {
    /// Sends back what comes (RFC 862).
    Echo,
    /// Reads and drops what comes (RFC 863).
    Discard,
    /// Sends a pattern of printable characters without end (RFC 864).
    Chargen,
    /// Sends date and time on one line and closes (RFC 867).
    Daytime,
    /// Closes as soon as the connection stands.
    Close,
    /// HTTP/1.1: a small fixed page (RFC 9112).
    Http,
}

impl Service {
    /// The names of all, for people.
    pub fn names() -> String {
        Service::iter().map(<&str>::from).collect::<Vec<_>>().join(", ")
    }
}

/// A service and the port that it listens on: `echo@7`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Listener {
    /// The service.
    pub service: Service,
    /// Its TCP port.
    pub port: u16,
}

impl FromStr for Listener {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        if let Some((first, _)) = text.split_once(',') {
            return Err(format!("`{text}` is more than one service; repeat the flag for each, the first as {first}"));
        }
        let Some((name, port)) = text.split_once('@') else {
            if text.parse::<u16>().is_ok() {
                return Err(format!("no service in `{text}`; write NAME@PORT, as http@{text}"));
            }
            return Err(match text.split_once(':') {
                Some((name, port)) => format!("no port in `{text}`; write {name}@{port}"),
                None => format!("no port in `{text}`; write NAME@PORT, as {text}@8000"),
            });
        };
        let service =
            Service::from_str(name).map_err(|_| format!("unknown service `{name}`; known are {}", Service::names()))?;
        match port.parse::<u16>() {
            Ok(port) if port > 0 => Ok(Listener { service, port }),
            _ => Err(format!("`{port}` is no port; write a number from 1 to 65535")),
        }
    }
}

impl std::fmt::Display for Listener {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}@{}", self.service, self.port)
    }
}

/// The application of `handfast serve`.
pub struct Services {
    listeners: Vec<Listener>,
    page: http::Page,
    calendar: Calendar,
    sessions: Sessions,
}

impl Services {
    /// These services; at most `connections` of them keep state at a time. The http service answers with `http_body`
    /// octets, or with a small page when that is `None`.
    pub fn new(listeners: Vec<Listener>, http_body: Option<u64>, connections: u32) -> Self {
        Services {
            listeners,
            page: http::Page::new(http_body),
            calendar: Calendar::default(),
            sessions: Sessions::new(connections),
        }
    }

    /// The ports that must listen.
    pub fn ports(&self) -> Vec<u16> {
        self.listeners.iter().map(|listener| listener.port).collect()
    }

    /// Times that a connection was aborted because the table of states was full.
    pub fn sessions_refused(&self) -> u64 {
        self.sessions.refused
    }

    /// Connections that keep state now, because something is pending on them.
    pub fn sessions_open(&self) -> usize {
        self.sessions.len()
    }

    fn service(&self, cx: &Cx<'_>, conn: ConnId) -> Option<Service> {
        let port = cx.local(conn)?.port();
        self.listeners.iter().find(|listener| listener.port == port).map(|listener| listener.service)
    }

    fn http(&mut self) -> http::Http<'_> {
        http::Http { page: &self.page, calendar: &mut self.calendar, sessions: &mut self.sessions }
    }
}

impl App for Services {
    type Message = std::convert::Infallible;

    fn on_accept(&mut self, cx: &mut Cx<'_>, conn: ConnId) {
        match self.service(cx, conn) {
            Some(Service::Chargen) => chargen::send(cx, conn),
            Some(Service::Daytime) => daytime::send(cx, conn, &mut self.calendar),
            Some(Service::Close) => close::close(cx, conn),
            Some(Service::Echo | Service::Discard | Service::Http) => {}
            None => cx.abort(conn),
        }
    }

    fn on_readable(&mut self, cx: &mut Cx<'_>, conn: ConnId) {
        match self.service(cx, conn) {
            Some(Service::Echo) => echo::pump(cx, conn),
            Some(Service::Discard | Service::Chargen | Service::Daytime | Service::Close) => {
                discard::drop_all(cx, conn)
            }
            Some(Service::Http) => self.http().on_readable(cx, conn),
            None => {}
        }
    }

    fn on_writable(&mut self, cx: &mut Cx<'_>, conn: ConnId) {
        match self.service(cx, conn) {
            Some(Service::Echo) => echo::pump(cx, conn),
            Some(Service::Chargen) => chargen::send(cx, conn),
            Some(Service::Daytime) => daytime::send(cx, conn, &mut self.calendar),
            Some(Service::Http) => self.http().on_writable(cx, conn),
            Some(Service::Discard | Service::Close) | None => {}
        }
    }

    fn on_half_close(&mut self, cx: &mut Cx<'_>, conn: ConnId) {
        match self.service(cx, conn) {
            Some(Service::Echo) => echo::pump(cx, conn),
            Some(Service::Http) => self.http().on_half_close(cx, conn),
            Some(_) => close::close(cx, conn),
            None => {}
        }
    }

    fn on_closed(&mut self, cx: &mut Cx<'_>, conn: ConnId, _ending: Ending) {
        // Only the http service enters sessions; the token of another service is its own affair.
        self.sessions.leave(cx.token(conn), conn);
    }

    fn on_timer(&mut self, cx: &mut Cx<'_>, token: u64) {
        close::close(cx, http::conn_of_timer(token));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_listener_is_written_as_it_is_read() {
        for service in Service::iter() {
            let listener = Listener { service, port: 8000 };
            assert_eq!(listener.to_string().parse(), Ok(listener));
        }
    }

    #[test]
    fn an_unknown_service_lists_the_known_ones() {
        let error = "telnet@23".parse::<Listener>().unwrap_err();
        for service in Service::iter() {
            assert!(error.contains(&service.to_string()), "{error}");
        }
        for bad in ["echo", "echo@", "echo@0", "echo@65536", "@7", "Echo@7"] {
            assert!(bad.parse::<Listener>().is_err(), "{bad}");
        }
    }
}
