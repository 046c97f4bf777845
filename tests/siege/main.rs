//! Under siege: what strangers and slow peers cannot take from everybody else. The stack with the services that `serve`
//! has, in virtual time, before peers who do as they like.

mod budgets;
mod reflector;
mod shedding;
mod site;
mod slow_peers;
