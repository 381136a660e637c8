//! System calls in loops, in the working directory: the median over batches, in nanoseconds a call.

use std::{
    fs::{self, File},
    io::{Seek as _, SeekFrom, Write as _},
    net::{TcpListener, TcpStream},
    process::Command,
    time::Instant,
};

use anyhow::{Context, Result};

use crate::{Figures, median};

/// Batches of each loop; the first is left out.
const BATCHES: usize = 15;

pub(crate) fn measure() -> Result<Figures> {
    let folder = std::env::current_dir()?;
    let here = folder.join("probe-file");
    fs::write(&here, "x")?;
    let mut sink = File::create(folder.join("probe-sink"))?;
    let listener = TcpListener::bind("127.0.0.1:0")?;
    let address = listener.local_addr()?;
    let figures = [
        (
            "getpid",
            batches(20_000, &mut || {
                std::hint::black_box(nix::unistd::getpid());
                Ok(())
            })?,
        ),
        ("stat", batches(5_000, &mut || fs::metadata(&here).map(|_| ()).map_err(Into::into))?),
        ("open+close", batches(5_000, &mut || File::open(&here).map(|_| ()).map_err(Into::into))?),
        (
            "write",
            batches(5_000, &mut || {
                sink.seek(SeekFrom::Start(0))?;
                Ok(sink.write_all(&[0; 64])?)
            })?,
        ),
        (
            "connect+accept",
            batches(200, &mut || {
                let near = TcpStream::connect(address)?;
                let (far, _) = listener.accept()?;
                // The side that closes first keeps the port for a minute.
                drop(far);
                drop(near);
                Ok(())
            })?,
        ),
        (
            "fork+exec",
            batches(20, &mut || {
                let status = Command::new("/bin/true").status().context("/bin/true")?;
                anyhow::ensure!(status.success(), "/bin/true failed");
                Ok(())
            })?,
        ),
    ];
    for file in ["probe-file", "probe-sink"] {
        fs::remove_file(folder.join(file))?;
    }
    Ok(figures.into_iter().map(|(name, value)| (name.to_owned(), value)).collect())
}

pub(crate) fn batches(times: u32, body: &mut dyn FnMut() -> Result<()>) -> Result<f64> {
    let mut means = Vec::new();
    for _ in 0..=BATCHES {
        let begin = Instant::now();
        for _ in 0..times {
            body()?;
        }
        means.push(begin.elapsed().as_secs_f64() * 1e9 / f64::from(times));
    }
    means.remove(0);
    Ok(median(means))
}
