//! The summary as a table, for people.

use std::fmt::Write;

use crate::summary::{DrainSummary, Row, Summary};
use crate::variant::Variant;

/// Whose CPU time is shown, in this order.
const PROCESSES: [&str; 6] = ["ticket", "regist", "gateway", "load", "broker", "postgres"];

pub(crate) fn table(summary: &Summary) -> String {
    let mut text = String::new();
    // Writing to a string does not fail.
    let _ = rows(&mut text, summary);
    let _ = bounds(&mut text, summary);
    text
}

fn rows(text: &mut String, summary: &Summary) -> std::fmt::Result {
    if !summary.rows.is_empty() {
        let percent = summary.refusals * 100.0;
        let (rounds, seconds) = (summary.rounds, summary.seconds);
        writeln!(
            text,
            "Medians of {rounds} rounds of {seconds} s, {percent:.0} % refused and undone. \
             CPU time in µs per saga; \
             others: what everything else took of the machine meanwhile, those without a turn too.\n"
        )?;
        if summary
            .rows
            .iter()
            .any(|row| row.variant == Variant::Http.title())
        {
            writeln!(
                text,
                "system: from the command handed to the bus to the end event received. over HTTP: \
                 POST /regist/trans on as many connections, each answer checked.\n"
            )?;
        }
        write!(text, "{:>9}  {:<14}", "in flight", "")?;
        write!(text, "{:>9}{:>11}{:>11}", "sagas/s", "p50", "p99")?;
        for process in PROCESSES {
            write!(text, "{process:>9}")?;
        }
        writeln!(text, "{:>8}{:>14}", "others", "ledger behind")?;
    }
    for row in &summary.rows {
        writeln!(text, "{}", line(row)?)?;
    }
    if !summary.ratios.is_empty() {
        writeln!(text, "\n{:<32}in flight   sagas/s       p50", "")?;
    }
    for ratio in &summary.ratios {
        let (of, to, n) = (ratio.of, ratio.to, ratio.in_flight);
        let (rate, p50) = (ratio.sagas_per_second, ratio.p50);
        let title = format!("{of}, times {to}");
        writeln!(text, "  {title:<29}{n:>10}{rate:>9.2}x{p50:>9.2}x")?;
    }
    if let Some(bare) = &summary.bare {
        let (commit, hop) = (time(bare.commit_us), time(bare.hop_us));
        writeln!(text, "\nBare: one commit {commit}, one broker hop {hop}")?;
    }
    summary
        .drain
        .as_ref()
        .map_or(Ok(()), |found| drain(text, found))
}

fn line(row: &Row) -> Result<String, std::fmt::Error> {
    let mut text = format!("{:>9}  {:<14}", row.in_flight, row.variant);
    let (p50, p99) = (time(row.p50_us), time(row.p99_us));
    write!(text, "{:>9.0}{p50:>11}{p99:>11}", row.sagas_per_second)?;
    for process in PROCESSES {
        match row.cpu_us_per_saga.get(process) {
            Some(Some(micros)) => write!(text, "{micros:>9.0}")?,
            Some(None) => write!(text, "{:>9}", "n/a")?,
            None => write!(text, "{:>9}", "-")?,
        }
    }
    match row.others {
        Some(share) => write!(text, "{:>6.0} %", share * 100.0)?,
        None => write!(text, "{:>8}", "n/a")?,
    }
    match row.ledger_behind_ms {
        Some(millis) => write!(text, "{:>14}", time(millis * 1000.0))?,
        None => write!(text, "{:>14}", "-")?,
    }
    Ok(text)
}

fn drain(text: &mut String, drain: &DrainSummary) -> std::fmt::Result {
    let DrainSummary {
        sagas,
        published_in_s,
        drained_in_s,
        ledger_behind_s,
        ..
    } = drain;
    writeln!(
        text,
        "\nBacklog of {sagas}: published in {published_in_s:.1} s, drained in {drained_in_s:.1} s, \
         the ledger {ledger_behind_s:.1} s behind. By tenths of the drain:\n"
    )?;
    write!(text, "{:>9}", "sagas/s")?;
    for service in &drain.services {
        write!(text, "{:>14}", format!("{service} MiB"))?;
    }
    writeln!(text)?;
    for (rate, peaks) in drain.sagas_per_second.iter().zip(&drain.peak_mib) {
        write!(text, "{rate:>9.0}")?;
        for peak in peaks {
            let peak = peak.map_or("n/a".to_owned(), |mib| format!("{mib:.1}"));
            write!(text, "{peak:>14}")?;
        }
        writeln!(text)?;
    }
    Ok(())
}

fn bounds(text: &mut String, summary: &Summary) -> std::fmt::Result {
    if !summary.bounds.is_empty() {
        writeln!(text, "\nBounds")?;
    }
    for bound in &summary.bounds {
        let verdict = if bound.met { "met   " } else { "MISSED" };
        writeln!(text, "  {verdict}  {:>7.2}  {}", bound.value, bound.claim)?;
    }
    match (summary.checked, summary.violations.len()) {
        (0, _) => return Ok(()),
        (systems, 0) => return writeln!(text, "\nInvariants hold ({systems} systems checked)."),
        _ => {}
    }
    writeln!(text, "\nINVARIANTS VIOLATED")?;
    for violation in &summary.violations {
        writeln!(text, "  {violation}")?;
    }
    Ok(())
}

fn time(micros: f64) -> String {
    if micros < 1000.0 {
        format!("{micros:.0} µs")
    } else {
        format!("{:.2} ms", micros / 1000.0)
    }
}
