//! What ethtool says of an interface, asked by ioctl: /sys would answer for the namespace it was mounted in.

use std::ffi::CStr;
use std::io;
use std::os::fd::AsRawFd;

const SIOCETHTOOL: u64 = 0x8946;
const ETHTOOL_GDRVINFO: u32 = 0x3;
const ETHTOOL_GRINGPARAM: u32 = 0x10;
const ETHTOOL_GCHANNELS: u32 = 0x3c;

/// `struct ethtool_drvinfo`.
#[repr(C)]
#[derive(zerocopy::FromZeros)]
struct DriverInfo {
    cmd: u32,
    driver: [u8; 32],
    version: [u8; 32],
    fw_version: [u8; 32],
    bus_info: [u8; 32],
    erom_version: [u8; 32],
    reserved2: [u8; 12],
    n_priv_flags: u32,
    n_stats: u32,
    testinfo_len: u32,
    eedump_len: u32,
    regdump_len: u32,
}

/// `struct ethtool_channels`.
#[repr(C)]
#[derive(zerocopy::FromZeros)]
struct Channels {
    cmd: u32,
    max_rx: u32,
    max_tx: u32,
    max_other: u32,
    max_combined: u32,
    rx_count: u32,
    tx_count: u32,
    other_count: u32,
    combined_count: u32,
}

/// `struct ethtool_ringparam`.
#[repr(C)]
#[derive(zerocopy::FromZeros)]
struct RingParameters {
    cmd: u32,
    rx_max: u32,
    rx_mini_max: u32,
    rx_jumbo_max: u32,
    tx_max: u32,
    rx: u32,
    rx_mini: u32,
    rx_jumbo: u32,
    tx: u32,
}

/// How many descriptors a queue's rings in the NIC have, and could have.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RingSizes {
    /// For receiving.
    pub rx: u32,
    /// For receiving, at most.
    pub rx_max: u32,
    /// For sending.
    pub tx: u32,
    /// For sending, at most.
    pub tx_max: u32,
}

/// The name of the interface's driver: `ioctl(SIOCETHTOOL)`.
///
/// # Errors
/// When there is no such interface in the caller's namespace, or its driver does not say.
pub fn driver_name(interface: &str) -> io::Result<String> {
    text(&driver_info(interface)?.driver)
}

/// Where the interface's device is on its bus, as `0000:00:04.0`; empty for one without hardware.
///
/// # Errors
/// As [`driver_name`].
pub fn bus_address(interface: &str) -> io::Result<String> {
    text(&driver_info(interface)?.bus_info)
}

fn text(octets: &[u8; 32]) -> io::Result<String> {
    let text = CStr::from_bytes_until_nul(octets).map_err(io::Error::other)?;
    Ok(text.to_string_lossy().into_owned())
}

fn driver_info(interface: &str) -> io::Result<DriverInfo> {
    let mut info: DriverInfo = zerocopy::FromZeros::new_zeroed();
    info.cmd = ETHTOOL_GDRVINFO;
    // SAFETY: the command answers with `struct ethtool_drvinfo`.
    unsafe { ask(interface, &mut info) }?;
    Ok(info)
}

/// How many queues receive and send just now: `ioctl(SIOCETHTOOL)`.
///
/// # Errors
/// As [`driver_name`].
pub fn queues(interface: &str) -> io::Result<(u32, u32)> {
    let mut channels: Channels = zerocopy::FromZeros::new_zeroed();
    channels.cmd = ETHTOOL_GCHANNELS;
    // SAFETY: the command answers with `struct ethtool_channels`.
    unsafe { ask(interface, &mut channels) }?;
    Ok((channels.rx_count + channels.combined_count, channels.tx_count + channels.combined_count))
}

/// The sizes of the NIC's own rings: `ioctl(SIOCETHTOOL)`.
///
/// # Errors
/// As [`driver_name`]; a driver without rings of its own does not say (EOPNOTSUPP).
pub fn ring_sizes(interface: &str) -> io::Result<RingSizes> {
    let mut rings: RingParameters = zerocopy::FromZeros::new_zeroed();
    rings.cmd = ETHTOOL_GRINGPARAM;
    // SAFETY: the command answers with `struct ethtool_ringparam`.
    unsafe { ask(interface, &mut rings) }?;
    let RingParameters { rx, rx_max, tx, tx_max, .. } = rings;
    Ok(RingSizes { rx, rx_max, tx, tx_max })
}

/// Lets the kernel fill `request`, whose first word is the command.
///
/// # Safety
/// `T` must be the structure that the command in it stands for; or a slice of words in which that structure and all that
/// the kernel writes behind it have room.
pub(super) unsafe fn ask<T: zerocopy::FromZeros + ?Sized>(interface: &str, request: &mut T) -> io::Result<()> {
    let socket = rustix::net::socket(rustix::net::AddressFamily::INET, rustix::net::SocketType::DGRAM, None)?;
    // SAFETY: the structure holds octets, integers and pointers, for which zero is a value.
    let mut ifreq = unsafe { std::mem::zeroed::<libc::ifreq>() };
    if interface.len() >= ifreq.ifr_name.len() {
        return Err(io::Error::from_raw_os_error(libc::ENODEV));
    }
    for (to, from) in ifreq.ifr_name.iter_mut().zip(interface.bytes()) {
        *to = from as libc::c_char;
    }
    ifreq.ifr_ifru.ifru_data = (&raw mut *request).cast();
    // SAFETY: the kernel reads and writes `ifreq` and, by the caller's promise, no more than `request` behind it.
    match unsafe { libc::ioctl(socket.as_raw_fd(), SIOCETHTOOL as _, &raw mut ifreq) } {
        0 => Ok(()),
        _ => Err(io::Error::last_os_error()),
    }
}
