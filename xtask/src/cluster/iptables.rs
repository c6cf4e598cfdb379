//! Removes the chains, rules and sets that our programs made, and nothing else.

use std::collections::BTreeSet;

use anyhow::Result;

use crate::cluster::layout::NETWORK;
use crate::cluster::net::Cidr;
use crate::cmd;

/// Which of our rules.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Whose {
    /// Everybody's: those of kube-proxy, the kubelet, the plugins, the agent.
    Cluster,
    /// The policy agent's alone.
    Agent,
}

/// Removes rules and the sets that they name. kube-proxy, the kubelet and the
/// policy agent own chains by name; CNI marks its chains and rules with the
/// network's name.
pub fn clean(whose: Whose) -> Result<()> {
    for family in ["iptables", "ip6tables"] {
        let save = format!("{family}-save");
        if cmd::find(&save).is_none() {
            continue;
        }
        // A kernel without IPv6 has no such tables, so nothing of ours either.
        let Ok(rules) = cmd::output(&mut cmd::command(&save)) else {
            continue;
        };
        let script = removal(&rules, whose);
        if !script.is_empty() {
            let mut restore = cmd::command(format!("{family}-restore"));
            cmd::output_with(restore.args(["--noflush", "--wait"]), &script)?;
        }
    }
    sets()
}

/// Removes the agent's address sets.
fn sets() -> Result<()> {
    // A kernel that has none holds none of ours.
    let listed = cmd::output(cmd::command("ipset").args(["list", "-name"])).unwrap_or_default();
    for name in listed.lines().filter(|name| name.starts_with("cali")) {
        cmd::output(cmd::command("ipset").args(["destroy", name]))?;
    }
    Ok(())
}

/// Lets pods reach what is outside under the machine's address: nobody there
/// knows theirs.
pub fn masquerade(pods: Cidr) -> Result<()> {
    let pods = pods.to_string();
    let comment = format!("name: \"{NETWORK}\" id: \"pods\"");
    let mut command = cmd::command("iptables");
    command.args(["--wait", "--table", "nat", "--append", "POSTROUTING"]);
    command.args(["--source", &pods, "!", "--destination", &pods]);
    command.args(["--match", "comment", "--comment", &comment]);
    cmd::output(command.args(["--jump", "MASQUERADE"])).map(drop)
}

/// Which tables of the kernel this machine's `iptables` writes to, in Felix's
/// words.
pub fn backend() -> Result<&'static str> {
    let version = cmd::output(cmd::command("iptables").arg("--version"))?;
    Ok(if version.contains("nf_tables") {
        "nft"
    } else {
        "legacy"
    })
}

/// Whether somebody's kube-proxy, kubelet or policy agent has chains here.
pub fn present() -> bool {
    cmd::output(&mut cmd::command("iptables-save")).is_ok_and(|rules| {
        rules
            .lines()
            .any(|line| line.starts_with(":KUBE-") || line.starts_with(":cali-"))
    })
}

/// The input for `iptables-restore --noflush` that removes what is ours from
/// what `iptables-save` printed.
fn removal(rules: &str, whose: Whose) -> String {
    let mut out = String::new();
    for table in rules.split_inclusive("COMMIT") {
        let lines: Vec<&str> = table.lines().map(str::trim).collect();
        let Some(name) = lines.iter().find(|line| line.starts_with('*')) else {
            continue;
        };
        let chains = match whose {
            Whose::Cluster => own_chains(&lines),
            Whose::Agent => declared(&lines).filter(|c| is_agents(c)).collect(),
        };
        let mut script = Vec::new();
        for line in &lines {
            if let Some(rule) = line.strip_prefix("-A ")
                && is_own_rule(rule, &chains, whose)
            {
                script.push(format!("-D {rule}"));
            }
        }
        // Flush all before deleting any: they jump to each other.
        script.extend(chains.iter().map(|chain| format!("-F {chain}")));
        script.extend(chains.iter().map(|chain| format!("-X {chain}")));
        if !script.is_empty() {
            out.push_str(&format!("{name}\n{}\nCOMMIT\n", script.join("\n")));
        }
    }
    out
}

fn declared<'a>(lines: &[&'a str]) -> impl Iterator<Item = &'a str> {
    lines
        .iter()
        .filter_map(|line| line.strip_prefix(':')?.split_whitespace().next())
}

/// A chain of the policy agent.
fn is_agents(chain: &str) -> bool {
    chain.starts_with("cali-")
}

/// Our chains of one table: Kubernetes' and the agent's by prefix; of CNI's
/// those that a rule with our network's name leads to, and the shared ones when
/// nobody else is left in them.
fn own_chains<'a>(lines: &[&'a str]) -> BTreeSet<&'a str> {
    let by_name = |chain: &&str| chain.starts_with("KUBE-") || is_agents(chain);
    let mut own: BTreeSet<&str> = declared(lines).filter(by_name).collect();
    let cni = declared(lines).filter(|chain| chain.starts_with("CNI-"));
    let leads_to = |chain: &str| {
        lines
            .iter()
            .any(|line| line.contains(&mark()) && target(line) == Some(chain))
    };
    let (shared, single): (Vec<&str>, Vec<&str>) =
        cni.partition(|chain| chain.starts_with("CNI-HOSTPORT-"));
    let foreign = single.iter().any(|chain| !leads_to(chain));
    own.extend(single.into_iter().filter(|chain| leads_to(chain)));
    if !foreign {
        own.extend(shared);
    }
    own
}

/// How the CNI plugins mark a rule in its comment.
fn mark() -> String {
    format!("name: \\\"{NETWORK}\\\" id:")
}

fn target(rule: &str) -> Option<&str> {
    let mut words = rule.split_whitespace();
    words.by_ref().find(|word| matches!(*word, "-j" | "-g"))?;
    words.next()
}

/// A rule in somebody else's chain that is ours: it jumps to a chain of ours,
/// or carries our network's name or the agent's mark.
fn is_own_rule(rule: &str, chains: &BTreeSet<&str>, whose: Whose) -> bool {
    let inside = rule
        .split_whitespace()
        .next()
        .is_some_and(|chain| chains.contains(chain));
    let leads = target(rule).is_some_and(|chain| chains.contains(chain));
    let marked =
        rule.contains("--comment \"cali:") || (whose == Whose::Cluster && rule.contains(&mark()));
    !inside && (leads || marked)
}

#[cfg(test)]
mod tests {
    use super::*;

    const RULES: &str = r#"# Generated by iptables-save
*nat
:PREROUTING ACCEPT [0:0]
:POSTROUTING ACCEPT [0:0]
:DOCKER - [0:0]
:KUBE-SERVICES - [0:0]
:KUBE-SVC-X - [0:0]
:CNI-aaa - [0:0]
:CNI-HOSTPORT-DNAT - [0:0]
-A PREROUTING -m comment --comment "kubernetes service portals" -j KUBE-SERVICES
-A PREROUTING -j DOCKER
-A POSTROUTING -s 10.244.0.9/32 -m comment --comment "name: \"oarmaster\" id: \"77\"" -j CNI-aaa
-A KUBE-SERVICES -d 10.96.0.1/32 -j KUBE-SVC-X
-A CNI-aaa -d 10.244.0.0/16 -m comment --comment "name: \"oarmaster\" id: \"77\"" -j ACCEPT
COMMIT
*filter
:INPUT ACCEPT [0:0]
-A INPUT -i lo -j ACCEPT
COMMIT
"#;

    #[test]
    fn what_is_ours_goes_and_only_that() {
        let script = removal(RULES, Whose::Cluster);
        let want = r#"*nat
-D PREROUTING -m comment --comment "kubernetes service portals" -j KUBE-SERVICES
-D POSTROUTING -s 10.244.0.9/32 -m comment --comment "name: \"oarmaster\" id: \"77\"" -j CNI-aaa
-F CNI-HOSTPORT-DNAT
-F CNI-aaa
-F KUBE-SERVICES
-F KUBE-SVC-X
-X CNI-HOSTPORT-DNAT
-X CNI-aaa
-X KUBE-SERVICES
-X KUBE-SVC-X
COMMIT
"#;
        assert_eq!(script, want);
    }

    #[test]
    fn another_network_keeps_its_chains_and_the_shared_ones() {
        let rules = RULES.replace("oarmaster", "podman");
        let script = removal(&rules, Whose::Cluster);
        assert!(script.contains("-X KUBE-SERVICES"), "{script}");
        assert!(!script.contains("CNI-"), "{script}");
    }

    #[test]
    fn a_clean_machine_needs_nothing() {
        for rules in ["*filter\n:INPUT ACCEPT [0:0]\nCOMMIT\n", ""] {
            assert_eq!(removal(rules, Whose::Cluster), "");
            assert_eq!(removal(rules, Whose::Agent), "");
        }
    }

    const AGENT: &str = r#"*filter
:FORWARD ACCEPT [0:0]
:KUBE-FORWARD - [0:0]
:cali-FORWARD - [0:0]
-A FORWARD -m comment --comment "cali:wUHh" -j cali-FORWARD
-A FORWARD -j KUBE-FORWARD
-A FORWARD -m comment --comment "cali:S93h" -m mark --mark 0x10000/0x10000 -j ACCEPT
-A FORWARD -m comment --comment "name: \"oarmaster\" id: \"pods\"" -j ACCEPT
-A cali-FORWARD -m comment --comment "cali:vjrM" -j DROP
COMMIT
"#;

    #[test]
    fn the_agents_rules_go_alone_or_with_all_others() {
        let agents = r#"*filter
-D FORWARD -m comment --comment "cali:wUHh" -j cali-FORWARD
-D FORWARD -m comment --comment "cali:S93h" -m mark --mark 0x10000/0x10000 -j ACCEPT
-F cali-FORWARD
-X cali-FORWARD
COMMIT
"#;
        assert_eq!(removal(AGENT, Whose::Agent), agents);
        let all = removal(AGENT, Whose::Cluster);
        for part in ["-X cali-FORWARD", "-X KUBE-FORWARD", "pods", "cali:S93h"] {
            assert!(all.contains(part), "{part}: {all}");
        }
    }
}
