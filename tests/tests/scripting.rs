//! Scripts in the simulated world: what they change survives as one unit, and one that takes long is answered in the end.

use perdura_sim::world::Crash;
use perdura_tests::simulated::Simulated;

const ALWAYS: &[(&str, &str)] = &[("appendonly", "yes"), ("appendfsync", "always"), ("save", "")];

/// A script with words that no blank separates.
fn eval(script: &str, rest: &str) -> String {
    format!("EVAL {} {rest}", script.replace(' ', "\t"))
}

#[test]
fn a_scripts_writes_survive_power_loss_together() {
    let mut server = Simulated::new(ALWAYS);
    server.start().expect("serves");
    let script = "redis.call('SET',KEYS[1],'1') redis.call('INCR',KEYS[1]) return redis.call('GET',KEYS[1])";
    assert_eq!(server.say(&eval(script, "1 k")), "2");
    assert_eq!(server.say(&eval("return redis.call('EXPIRE',KEYS[1],100)", "1 k")), "1");
    server.crash(Crash::Power);
    server.start().expect("serves again");
    server.check(&[("GET k", "2"), ("TTL k", "100")]);
}

#[test]
fn functions_survive_power_loss() {
    let mut server = Simulated::new(ALWAYS);
    server.start().expect("serves");
    let code = "#!lua\u{1}name=l\nredis.register_function('f',function(keys,args)\treturn\t#args\tend)";
    let code = code.replace('\u{1}', "\t");
    assert_eq!(server.say(&format!("FUNCTION LOAD {code}")), "l");
    server.crash(Crash::Power);
    server.start().expect("serves again");
    assert_eq!(server.say("FCALL f 0 a b"), "2");
    server.check(&[("FUNCTION DELETE l", "OK")]);
    server.crash(Crash::Power);
    server.start().expect("serves again");
    assert_eq!(server.say("FCALL f 0"), "(error) ERR Function not found");
}

#[test]
fn a_script_that_takes_long_is_answered_and_so_is_the_rest_of_exec() {
    let mut server = Simulated::new(ALWAYS);
    server.start().expect("serves");
    let long = eval("local n=0 for i=1,1000000 do n=n+i end redis.call('INCR','k') return n", "0");
    assert_eq!(server.say(&long), "500000500000");
    server.check(&[("MULTI", "OK"), ("INCR k", "QUEUED"), (&long, "QUEUED"), ("INCR k", "QUEUED")]);
    assert_eq!(server.say("EXEC"), "1) 2 2) 500000500000 3) 4");
    server.crash(Crash::Power);
    server.start().expect("serves again");
    assert_eq!(server.say("GET k"), "4");
}

/// What went wrong (seed 201): a script had a session of its own, which watches nothing, and EXEC ran.
#[test]
fn a_script_of_its_own_touches_what_a_client_watches() {
    let mut server = Simulated::new(&[]);
    server.start().unwrap();
    server.check(&[
        ("WATCH k", "OK"),
        (&eval("redis.call('SET', 'k', '1')", "0"), "(nil)"),
        ("MULTI", "OK"),
        ("INCR k", "QUEUED"),
        ("EXEC", "(nil)"),
        ("GET k", "1"),
    ]);
}
