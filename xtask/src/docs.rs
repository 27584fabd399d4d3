//! Documents are held to the program: links lead somewhere, commands and their flags exist, and blocks marked
//! `sh run` are run.

use crate::{process, suite, workspace};
use anyhow::{Context, Result};
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::Command;

/// One command line of ours in a document.
#[derive(Debug, PartialEq, Eq)]
struct Line {
    number: usize,
    program: Program,
    args: Vec<String>,
}

#[derive(Debug, PartialEq, Eq, Clone, Copy, PartialOrd, Ord)]
enum Program {
    Everopen,
    Xtask,
}

/// A block of a document that is run as it stands.
#[derive(Debug, PartialEq, Eq)]
struct Block {
    number: usize,
    script: String,
}

/// Checks every Markdown file; whether nothing was found.
pub fn run() -> Result<bool> {
    let documents: Vec<PathBuf> = workspace::files()?
        .into_iter()
        .filter(|path| path.extension().is_some_and(|e| e == "md"))
        .collect();
    let (mut findings, mut commands, mut blocks_run) = (Vec::new(), 0, 0);
    let binary = suite::binary()?;
    let xtask = std::env::current_exe().context("cannot find this program")?;
    let mut help = BTreeMap::new();
    for document in &documents {
        let name = document.display();
        let text = std::fs::read_to_string(workspace::root().join(document))
            .with_context(|| format!("cannot read {name}"))?;
        for (number, link) in broken_links(document, &text) {
            findings.push(format!(
                "{name}:{number}: links to {link}, which does not exist"
            ));
        }
        let (lines, blocks) = read(&text);
        for line in lines {
            commands += 1;
            let program = match line.program {
                Program::Everopen => &binary,
                Program::Xtask => &xtask,
            };
            if let Some(what) = unknown(program, &line, &mut help) {
                findings.push(format!("{name}:{}: {what}", line.number));
            }
        }
        for block in blocks {
            blocks_run += 1;
            println!("    running the block at {name}:{}", block.number);
            if let Some(what) = execute(&block, &binary)? {
                findings.push(format!("{name}:{}: the block failed: {what}", block.number));
            }
        }
    }
    for finding in &findings {
        println!("    {finding}");
    }
    println!(
        "    {} documents, {commands} commands checked, {blocks_run} blocks run, {} findings",
        documents.len(),
        findings.len()
    );
    Ok(findings.is_empty())
}

/// The commands of ours in fenced shell blocks, and the blocks to run.
fn read(text: &str) -> (Vec<Line>, Vec<Block>) {
    let (mut lines, mut blocks) = (Vec::new(), Vec::new());
    let mut fence: Option<String> = None;
    let mut joined = String::new();
    for (index, raw) in text.lines().enumerate() {
        let number = index + 1;
        if let Some(info) = raw.trim_start().strip_prefix("```") {
            match fence.take() {
                Some(_) => {}
                None => {
                    let info = info.trim().to_owned();
                    if info == "sh run" || info == "bash run" {
                        blocks.push(Block {
                            number,
                            script: String::new(),
                        });
                    }
                    fence = Some(info);
                }
            }
            joined.clear();
            continue;
        }
        let Some(info) = &fence else { continue };
        let language = info.split_whitespace().next().unwrap_or("");
        if !["sh", "bash", "console", "shell"].contains(&language) {
            continue;
        }
        if info.ends_with(" run")
            && let Some(block) = blocks.last_mut()
        {
            block.script.push_str(raw);
            block.script.push('\n');
        }
        let line = raw.trim();
        let line = match language {
            // In a console block only prompted lines are commands; the rest is what they printed.
            "console" if joined.is_empty() => match line.strip_prefix("$ ") {
                Some(line) => line,
                None => continue,
            },
            _ => line,
        };
        if let Some(open) = line.strip_suffix('\\') {
            joined.push_str(open);
            joined.push(' ');
            continue;
        }
        joined.push_str(line);
        if let Some((program, args)) = ours(&joined) {
            lines.push(Line {
                number,
                program,
                args,
            });
        }
        joined.clear();
    }
    (lines, blocks)
}

/// The program and arguments of a shell line that starts one of our programs.
fn ours(line: &str) -> Option<(Program, Vec<String>)> {
    let ends = ["|", ">", "&", "&&", ";", "#", "2>&1", ">>", "<"];
    let words: Vec<&str> = line
        .split_whitespace()
        .skip_while(|word| word.contains('=') && !word.starts_with('-'))
        .take_while(|word| !ends.contains(word))
        .collect();
    let owned = |words: &[&str]| {
        words
            .iter()
            .map(|word| (*word).to_owned())
            .collect::<Vec<_>>()
    };
    match words.as_slice() {
        ["cargo", "xtask", rest @ ..] => Some((Program::Xtask, owned(rest))),
        ["cargo", "run", rest @ ..] => {
            let after = rest
                .iter()
                .position(|word| *word == "--")
                .map_or(rest.len(), |at| at + 1);
            Some((Program::Everopen, owned(&rest[after..])))
        }
        [program, rest @ ..] if *program == "everopen" || program.ends_with("/everopen") => {
            Some((Program::Everopen, owned(rest)))
        }
        _ => None,
    }
}

/// What the program's own help does not know of a command line.
fn unknown(
    program: &Path,
    line: &Line,
    help: &mut BTreeMap<(Program, Vec<String>), Option<String>>,
) -> Option<String> {
    let mut ask = |path: &[String]| {
        help.entry((line.program, path.to_vec()))
            .or_insert_with(|| process::capture(Command::new(program).args(path).arg("--help")))
            .clone()
    };
    let mut path: Vec<String> = Vec::new();
    let mut text = ask(&path)?;
    for word in &line.args {
        if word.starts_with('-') {
            break;
        }
        // A word is a subcommand where the help lists one of that name, and a value elsewhere.
        if !has_subcommands(&text) {
            break;
        }
        if !lists_subcommand(&text, word) {
            return Some(format!(
                "`{}` has no subcommand `{word}`",
                called(line.program, &path)
            ));
        }
        path.push(word.clone());
        text = ask(&path)?;
    }
    for word in line.args.iter().take_while(|word| *word != "--") {
        let flag = word.split_once('=').map_or(word.as_str(), |(flag, _)| flag);
        if flag.starts_with("--") && !mentions_flag(&text, flag) {
            return Some(format!(
                "`{}` has no flag `{flag}`",
                called(line.program, &path)
            ));
        }
    }
    None
}

fn called(program: Program, path: &[String]) -> String {
    let name = match program {
        Program::Everopen => "everopen",
        Program::Xtask => "cargo xtask",
    };
    std::iter::once(name)
        .chain(path.iter().map(String::as_str))
        .collect::<Vec<_>>()
        .join(" ")
}

fn has_subcommands(help: &str) -> bool {
    help.lines().any(|line| line.trim() == "Commands:")
}

fn lists_subcommand(help: &str, name: &str) -> bool {
    help.lines()
        .skip_while(|line| line.trim() != "Commands:")
        .skip(1)
        .take_while(|line| !line.trim().is_empty())
        .any(|line| line.split_whitespace().next() == Some(name))
}

fn mentions_flag(help: &str, flag: &str) -> bool {
    let joins = |c: char| c.is_ascii_alphanumeric() || c == '-';
    help.match_indices(flag)
        .any(|(at, _)| !help[..at].ends_with(joins) && !help[at + flag.len()..].starts_with(joins))
}

/// Runs a block in an empty folder with our program on the path; what went wrong, if anything.
fn execute(block: &Block, binary: &Path) -> Result<Option<String>> {
    let folder = std::env::temp_dir().join(format!(
        "everopen-docs-{}-{}",
        std::process::id(),
        block.number
    ));
    std::fs::create_dir_all(&folder).context("cannot make a folder for the block")?;
    let mut path = binary
        .parent()
        .map(Path::to_path_buf)
        .unwrap_or_default()
        .into_os_string();
    path.push(":");
    path.push(std::env::var_os("PATH").unwrap_or_default());
    // A block that serves until stopped must not stop the suite.
    let output = Command::new("timeout")
        .args(["120", "bash", "-euo", "pipefail", "-c", &block.script])
        .current_dir(&folder)
        .env("PATH", path)
        .output()
        .context("cannot start bash")?;
    let _ = std::fs::remove_dir_all(&folder);
    Ok((!output.status.success()).then(|| {
        format!(
            "{}: {}",
            output.status,
            String::from_utf8_lossy(&output.stderr).trim()
        )
    }))
}

/// Relative links of a document that lead nowhere.
fn broken_links(document: &Path, text: &str) -> Vec<(usize, String)> {
    let folder = workspace::root().join(document.parent().unwrap_or(Path::new("")));
    let mut broken = Vec::new();
    let mut fenced = false;
    for (index, line) in text.lines().enumerate() {
        fenced ^= line.trim_start().starts_with("```");
        if fenced {
            continue;
        }
        for rest in line.split("](").skip(1) {
            let Some((link, _)) = rest.split_once(')') else {
                continue;
            };
            let path = link.split('#').next().unwrap_or("");
            let outside =
                link.contains("://") || link.starts_with("mailto:") || link.starts_with("../../");
            if !path.is_empty() && !outside && !folder.join(path).exists() {
                broken.push((index + 1, link.to_owned()));
            }
        }
    }
    broken
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn commands_are_found_in_shell_blocks_only() {
        let text = "run `everopen x`\n```sh\nRUST_LOG=info cargo run --release -- up --dir d | head\n\
                    cargo xtask test --long\nls\n```\n```text\neveropen not-a-command\n```\n\
                    ```console\n$ everopen member add alice \\\n    --json\n{\"key\": 1}\n```\n";
        let (lines, blocks) = read(text);
        assert!(blocks.is_empty());
        let got: Vec<_> = lines
            .iter()
            .map(|l| (l.number, l.program, l.args.join(" ")))
            .collect();
        assert_eq!(
            got,
            [
                (3, Program::Everopen, "up --dir d".to_owned()),
                (4, Program::Xtask, "test --long".to_owned()),
                (12, Program::Everopen, "member add alice --json".to_owned()),
            ]
        );
    }

    #[test]
    fn blocks_to_run_keep_their_text() {
        let (_, blocks) = read("```sh run\necho a\necho b\n```\n```sh\necho c\n```\n");
        assert_eq!(
            blocks,
            [Block {
                number: 1,
                script: "echo a\necho b\n".into()
            }]
        );
    }

    #[test]
    fn help_is_asked_for_subcommands_and_flags() {
        let help = "Usage: x <COMMAND>\n\nCommands:\n  up    Start\n  help  Print\n\nOptions:\n      --dir <DIR>\n";
        assert!(has_subcommands(help) && lists_subcommand(help, "up"));
        assert!(!lists_subcommand(help, "down") && !lists_subcommand(help, "Start"));
        assert!(mentions_flag(help, "--dir"));
        assert!(!mentions_flag(help, "--di") && !mentions_flag(help, "--dirs"));
    }

    #[test]
    fn a_link_to_nothing_is_found() {
        let text = "[a](Cargo.toml) [b](no-such-file.md#x) [c](https://example.org/) [d](#here)\n";
        let broken = broken_links(Path::new("README.md"), text);
        assert_eq!(broken, [(1, "no-such-file.md#x".to_owned())]);
    }
}
