//! DNS over UDP on one socket that takes questions to any address, and answers from the very address that was asked.

use std::{
    io::{self, IoSlice, IoSliceMut},
    net::{SocketAddr, SocketAddrV4, SocketAddrV6},
    os::fd::{AsRawFd, RawFd},
    sync::Arc,
};

use nix::sys::socket::{ControlMessage, ControlMessageOwned, MsgFlags, SockaddrIn, SockaddrIn6, SockaddrStorage, recvmsg, sendmsg};
use tokio::{io::Interest, net::UdpSocket, sync::Semaphore};

use super::answer::{Carrier, Resolver};

/// A question over UDP has one name: 512 bytes and some EDNS options.
const LONGEST: usize = 2048;

/// Where the answer must seem to come from.
#[derive(Clone, Copy, Debug)]
enum Asked {
    V4(nix::libc::in_pktinfo),
    V6(nix::libc::in6_pktinfo),
}

/// Serves one socket until it fails.
pub(crate) async fn serve(socket: std::net::UdpSocket, resolver: Arc<Resolver>, places: Arc<Semaphore>) -> io::Result<()> {
    socket.set_nonblocking(true)?;
    let socket = Arc::new(UdpSocket::from_std(socket)?);
    loop {
        let received = socket.async_io(Interest::READABLE, || receive(socket.as_raw_fd())).await;
        let (question, from, asked) = match received {
            Ok(Some(received)) => received,
            // Without its destination a packet cannot be answered from the right address.
            Ok(None) => continue,
            Err(error) if error.kind() == io::ErrorKind::ConnectionRefused => continue,
            Err(error) => return Err(error),
        };
        let Ok(place) = places.clone().try_acquire_owned() else { continue };
        let (socket, resolver) = (socket.clone(), resolver.clone());
        tokio::spawn(async move {
            if let Some(answer) = resolver.answer(&question, Carrier::Udp).await {
                let _ = socket.async_io(Interest::WRITABLE, || send(socket.as_raw_fd(), &answer, from, asked)).await;
            }
            drop(place);
        });
    }
}

fn receive(fd: RawFd) -> io::Result<Option<(Vec<u8>, SocketAddr, Asked)>> {
    let mut buffer = [0; LONGEST];
    let mut slices = [IoSliceMut::new(&mut buffer)];
    let mut control = nix::cmsg_space!(nix::libc::in6_pktinfo, nix::libc::in_pktinfo);
    let message = recvmsg::<SockaddrStorage>(fd, &mut slices, Some(&mut control), MsgFlags::MSG_DONTWAIT)?;
    let length = message.bytes;
    let from = message.address.and_then(|address| socket_address(&address));
    let mut asked = None;
    for control in message.cmsgs()? {
        match control {
            ControlMessageOwned::Ipv4PacketInfo(info) => asked = Some(Asked::V4(info)),
            ControlMessageOwned::Ipv6PacketInfo(info) => asked = Some(Asked::V6(info)),
            _ => {}
        }
    }
    let (Some(from), Some(asked)) = (from, asked) else { return Ok(None) };
    Ok(Some((buffer.get(..length).unwrap_or_default().to_vec(), from, asked)))
}

fn socket_address(address: &SockaddrStorage) -> Option<SocketAddr> {
    if let Some(v4) = address.as_sockaddr_in() {
        return Some(SocketAddrV4::new(v4.ip(), v4.port()).into());
    }
    address.as_sockaddr_in6().map(|v6| SocketAddrV6::new(v6.ip(), v6.port(), v6.flowinfo(), v6.scope_id()).into())
}

fn send(fd: RawFd, answer: &[u8], to: SocketAddr, asked: Asked) -> io::Result<()> {
    let slices = [IoSlice::new(answer)];
    match (to, asked) {
        (SocketAddr::V4(to), Asked::V4(asked)) => {
            // The source is the address that was asked; the kernel chooses the interface.
            let source = nix::libc::in_pktinfo { ipi_ifindex: 0, ipi_spec_dst: asked.ipi_addr, ipi_addr: asked.ipi_addr };
            sendmsg(fd, &slices, &[ControlMessage::Ipv4PacketInfo(&source)], MsgFlags::MSG_DONTWAIT, Some(&SockaddrIn::from(to)))?;
        }
        (SocketAddr::V6(to), Asked::V6(asked)) => {
            let source = nix::libc::in6_pktinfo { ipi6_addr: asked.ipi6_addr, ipi6_ifindex: 0 };
            sendmsg(fd, &slices, &[ControlMessage::Ipv6PacketInfo(&source)], MsgFlags::MSG_DONTWAIT, Some(&SockaddrIn6::from(to)))?;
        }
        (SocketAddr::V4(_), Asked::V6(_)) | (SocketAddr::V6(_), Asked::V4(_)) => return Err(io::ErrorKind::InvalidInput.into()),
    }
    Ok(())
}
