//! Reads Cilium's maps as Envoy does, through the inherited privileged service:
//! `look_up ROOT ipcache NAME ADDRESS...` or `look_up ROOT conntrack ingress|egress SOURCE DESTINATION`.
//! Prints how the map is read, then an identity or `-` per line. With `-` for an address, waits for a line of input and
//! opens the ipcache again. Conntrack is asked again at each line of input.
#![forbid(unsafe_code)]

use std::error::Error;
use std::path::Path;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use cilium_privileged::conntrack::Side;
use cilium_privileged::pinned::PinnedMap;
use cilium_privileged::{Client, Conntrack, IpCache};

fn main() -> ExitCode {
    match run() {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("look_up: {error}");
            ExitCode::FAILURE
        }
    }
}

fn run() -> Result<(), Box<dyn Error>> {
    let arguments: Vec<_> = std::env::args().skip(1).collect();
    let arguments: Vec<_> = arguments.iter().map(String::as_str).collect();
    let client = Arc::new(Client::from_env());
    match &arguments[..] {
        [root, "ipcache", name, addresses @ ..] => {
            let ipcache = IpCache::new(client, Path::new(root), name, Duration::ZERO);
            ipcache.open()?;
            print_way(ipcache.map());
            for address in addresses {
                if *address == "-" {
                    std::io::stdin().read_line(&mut String::new())?;
                    ipcache.reopen()?;
                } else {
                    print_identity(ipcache.resolve(address.parse()?, Duration::from_secs(60))?);
                }
            }
        }
        [root, "conntrack", side, source, destination] => {
            let conntrack = Conntrack::new(&client, Path::new(root));
            let (source, destination) = (source.parse()?, destination.parse()?);
            let side = if *side == "ingress" { Side::Ingress } else { Side::Egress };
            let ask = || conntrack.source_identity(source, destination, side);
            let identity = ask()?;
            for map in conntrack.maps() {
                print_way(map);
            }
            print_identity(identity);
            while std::io::stdin().read_line(&mut String::new())? > 0 {
                print_identity(ask()?);
            }
        }
        _ => return Err("see the file's first lines".into()),
    }
    Ok(())
}

fn print_way(map: &PinnedMap) {
    if let Some(map) = map.current() {
        println!("{}", if map.is_direct() { "direct" } else { "by service" });
    }
}

fn print_identity(identity: Option<u32>) {
    println!("{}", identity.map_or("-".into(), |identity| identity.to_string()));
}
