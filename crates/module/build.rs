//! Links so that a symbol Envoy lacks fails the load, not the first call.

fn main() {
    println!("cargo::rustc-cdylib-link-arg=-Wl,-z,now");
}
