# The encodings that stand for those of Redis 7.0.
#
# Since 7.2 a short list is a listpack, and so is a small set of anything but integers; 7.0 knows quicklist and hashtable there.
# What the tests do with such a list or set is the same, so that they are to run. This file is sourced by the suite's own
# test_helper.tcl after its procedures and before it runs anything; the suites since 7.2 do not get it.

proc assert_encoding {expected key} {
    if {$::ignoreencoding} return
    set found [r object encoding $key]
    set may_be_packed [expr {$expected in {quicklist hashtable} && [r type $key] in {list set}}]
    if {!($may_be_packed && $found eq {listpack})} {
        assert_match $expected $found
    }
}
