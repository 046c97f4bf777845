//! HTTP responses by the class of their status (RFC 9110 §15).

use super::first::First;
use crate::time::Instant;
use serde::Serialize;

/// How many responses had a status of which class; interim ones (1xx) are none.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Statuses {
    /// Successful.
    #[serde(rename = "2xx")]
    pub successful: u64,
    /// Redirections; nobody follows them.
    #[serde(rename = "3xx")]
    pub redirections: u64,
    /// Errors of the client, as 404: a bad answer.
    #[serde(rename = "4xx")]
    pub client_errors: u64,
    /// Errors of the server, and what is beyond them: a bad answer.
    #[serde(rename = "5xx")]
    pub server_errors: u64,
    /// The first one of 400 or more.
    #[serde(skip_serializing_if = "First::is_none")]
    pub first_error: First<u16>,
}

impl Statuses {
    /// Enters the status of a final response that came now; says whether it is an error.
    pub fn enter(&mut self, status: u16, now: Instant) -> bool {
        *match status {
            ..300 => &mut self.successful,
            300..400 => &mut self.redirections,
            400..500 => &mut self.client_errors,
            500.. => &mut self.server_errors,
        } += 1;
        let is_error = status >= 400;
        if is_error {
            self.first_error.note(now, status);
        }
        is_error
    }

    /// Responses of all classes.
    pub fn all(&self) -> u64 {
        self.successful + self.redirections + self.errors()
    }

    /// Responses that are bad answers.
    pub fn errors(&self) -> u64 {
        self.client_errors + self.server_errors
    }

    pub(super) fn merge(&mut self, other: &Statuses) {
        self.successful += other.successful;
        self.redirections += other.redirections;
        self.client_errors += other.client_errors;
        self.server_errors += other.server_errors;
        self.first_error.merge(&other.first_error);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_status_is_of_one_class_and_the_first_error_is_kept() {
        let mut statuses = Statuses::default();
        let errors =
            [200, 299, 300, 304, 399, 404, 499, 500, 599, 999].map(|status| statuses.enter(status, Instant::ZERO));
        assert_eq!(errors, [false, false, false, false, false, true, true, true, true, true]);
        let Statuses { successful, redirections, client_errors, server_errors, .. } = statuses;
        assert_eq!([successful, redirections, client_errors, server_errors], [2, 3, 2, 3]);
        assert_eq!((statuses.all(), statuses.errors(), statuses.first_error.get()), (10, 5, Some(404)));
        let mut sum = Statuses::default();
        sum.enter(503, Instant::from_millis(1));
        sum.merge(&statuses);
        sum.merge(&statuses);
        assert_eq!(
            (sum.all(), sum.errors(), sum.first_error.get()),
            (21, 11, Some(404)),
            "the earliest of all workers"
        );
    }
}
