# When a server that was started may be connected to.
#
# The suite of Redis 7.0 takes the line with the process id for that, which its server writes when it listens already. Servers
# since 7.2, and Perdura, write it first and say `Server initialized` when they listen; the suites since then wait for that line.
# This file is sourced by the suite's own test_helper.tcl after its procedures and before it runs anything.

# Waits until the server says that it listens, or that it cannot; whether its port is taken.
proc wait_server_started {config_file stdout pid} {
    for {set attempt 0} {$attempt < 1200} {incr attempt} {
        set log [exec cat $stdout]
        if {[regexp -- " PID: $pid.*Server initialized" $log]} {return 0}
        if {[regexp {Failed listening on port} $log]} {return 1}
        after 100
    }
    start_server_error $config_file "No sign in $stdout that server $pid listens"
    return 0
}
