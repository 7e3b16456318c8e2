//! Placeholder.
fn main() {
    let rt = tokio::runtime::Builder::new_current_thread().enable_all().build();
    rt.map(|rt| rt.block_on(async { eprintln!("hi") })).ok();
}
