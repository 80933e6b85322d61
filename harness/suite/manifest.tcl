# What the suite reads of a manifest, without the comments in it.
#
# A line that begins with `#` is a comment to every server that reads a manifest. Ours writes two: a checksum of the lines, and
# when the set was closed. Tests count lines and take the first for the base file's; they are to see what the comments are about.
# This file stands at the end of the suite's own support/aofmanifest.tcl.

proc manifest_lines {path} {
    set manifest [open $path]
    set lines [split [string trimright [read $manifest] "\n"] "\n"]
    close $manifest
    return [lsearch -all -inline -not -glob $lines {#*}]
}

proc get_cur_base_aof_name {path} {
    set first [lindex [manifest_lines $path] 0]
    if {[lindex $first 5] ne {b}} {return {}}
    return [lindex $first 1]
}

proc get_last_incr_aof_name {path} {
    set last [lindex [manifest_lines $path] end]
    if {[lindex $last 5] ne {i}} {return {}}
    return [lindex $last 1]
}

proc assert_aof_manifest_content {path content} {
    set lines [manifest_lines $path]
    assert_equal [llength $lines] [llength $content]
    foreach line $lines expected $content {
        assert_equal $line $expected
    }
}
