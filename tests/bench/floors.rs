//! What the machine can do without us: make a write durable, and start a process.

pub(crate) mod nats;

use std::fs::File;
use std::os::unix::fs::FileExt as _;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, ensure};

use crate::figures::{Figures, percentile_ms, rate};

/// How long each is measured.
const SPAN: Duration = Duration::from_secs(2);

/// One page of a database.
const BLOCK: [u8; 4096] = [0x5a; 4096];

pub(crate) fn measure(directory: &Path, figures: &mut Figures) -> Result<()> {
    let mut samples = syncs(&directory.join("overwrite"), |_| 0)?;
    figures.add("overwrite_fsync", "/s", rate(samples.len(), samples.iter().sum()));
    figures.add("overwrite_fsync_p50", "ms", percentile_ms(&mut samples, 50));
    figures.add("overwrite_fsync_p99", "ms", percentile_ms(&mut samples, 99));
    let mut samples = syncs(&directory.join("append"), |count| count * BLOCK.len() as u64)?;
    figures.add("append_fsync", "/s", rate(samples.len(), samples.iter().sum()));
    figures.add("append_fsync_p50", "ms", percentile_ms(&mut samples, 50));
    figures.add("append_fsync_p99", "ms", percentile_ms(&mut samples, 99));
    figures.add("spawn_1", "/s", spawns(1)?);
    figures.add("spawn_2", "/s", spawns(2)?);
    Ok(())
}

/// Writes one block at a time, each made durable before the next.
fn syncs(path: &Path, offset: impl Fn(u64) -> u64) -> Result<Vec<Duration>> {
    let file = File::create(path).with_context(|| format!("making {}", path.display()))?;
    file.write_all_at(&BLOCK, 0)?;
    file.sync_all()?;
    let begin = Instant::now();
    let mut samples = Vec::new();
    for count in 1.. {
        let before = Instant::now();
        file.write_all_at(&BLOCK, offset(count))?;
        file.sync_data()?;
        samples.push(before.elapsed());
        if begin.elapsed() >= SPAN {
            break;
        }
    }
    Ok(samples)
}

/// Processes that were started, ran and were reaped per second, with `at_once` of them alive.
fn spawns(at_once: usize) -> Result<f64> {
    let begin = Instant::now();
    let spawn_all = || -> Result<usize> {
        let mut count = 0;
        while begin.elapsed() < SPAN {
            let mut command = Command::new("/bin/true");
            command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
            ensure!(command.status().context("starting /bin/true")?.success(), "/bin/true failed");
            count += 1;
        }
        Ok(count)
    };
    let count = std::thread::scope(|scope| -> Result<usize> {
        let threads: Vec<_> = (0..at_once).map(|_| scope.spawn(spawn_all)).collect();
        let mut sum = 0;
        for thread in threads {
            sum += thread.join().map_err(|_| anyhow::anyhow!("a thread panicked"))??;
        }
        Ok(sum)
    })?;
    Ok(rate(count, begin.elapsed()))
}
