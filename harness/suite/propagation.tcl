# What the suite asks of a replication stream, answered from the append-only file.
#
# Tests that check what a command propagates open a connection, send SYNC and read commands. A server without
# replication propagates to its append-only file only, and the rules are the same; so the same tests read it there. This
# file is sourced by the suite's own test_helper.tcl after its procedures and before it runs anything.
#
# Not here: tests that need a replica that answers (listed in not-applicable.txt).

# The append-only file being written, by the manifest's last line for an incremental file.
proc current_incremental_file {client} {
    set dir [lindex [$client config get dir] 1]/[lindex [$client config get appenddirname] 1]
    set base [lindex [$client config get appendfilename] 1]
    set manifest [open $dir/$base.manifest]
    set name {}
    foreach line [split [read $manifest] "\n"] {
        if {[lindex $line 5] eq {i}} {set name [lindex $line 1]}
    }
    close $manifest
    return $dir/$name
}

# Begins a new incremental file, in which the next command is the first, and opens it at its end.
proc attach_to_replication_stream_on_connection {level} {
    set client [srv $level client]
    set ::propagation_was_on [expr {[lindex [$client config get appendonly] 1] eq {yes}}]
    if {$::propagation_was_on} {
        $client bgrewriteaof
    } else {
        $client config set appendonly yes
    }
    set ::propagation_client $client
    wait_for_condition 200 50 {
        [status $client aof_rewrite_in_progress] eq 0 && [status $client aof_rewrite_scheduled] eq 0
    } else {
        fail "no append-only file to read propagated commands from"
    }
    set file [open [current_incremental_file $client]]
    fconfigure $file -translation binary
    seek $file 0 end
    return $file
}

proc attach_to_replication_stream {} {
    return [attach_to_replication_stream_on_connection 0]
}

# The next command as a list of its arguments, the first in lower case; nothing if none comes within a second.
proc read_from_replication_stream {file} {
    for {set attempt 0} {$attempt < 20} {incr attempt} {
        set start [tell $file]
        set command [read_record $file]
        if {$command ne {}} {return $command}
        seek $file $start
        after 50
    }
    return {}
}

# One whole record, annotations skipped, or nothing if the file ends before its end.
proc read_record {file} {
    while {1} {
        if {[gets $file line] == -1} {return {}}
        if {[string index $line 0] ne {#}} break
    }
    set command {}
    set count [string range [string trimright $line "\r"] 1 end]
    for {set j 0} {$j < $count} {incr j} {
        if {[gets $file line] == -1} {return {}}
        set length [string range [string trimright $line "\r"] 1 end]
        if {![string is integer -strict $length]} {return {}}
        set argument [read $file [expr {$length + 2}]]
        if {[string length $argument] != $length + 2} {return {}}
        set argument [string range $argument 0 end-2]
        if {$j == 0} {set argument [string tolower $argument]}
        lappend command $argument
    }
    return $command
}

proc close_replication_stream {file} {
    close $file
    if {!$::propagation_was_on} {
        $::propagation_client config set appendonly no
    }
    return
}
