//! Places: a sorted set whose scores are places on earth.
//!
//! Always true: GEOADD is logged as the `zadd` that it is.
//!
//! Not here: how places become scores, and which scores lie in an area (`geohash.rs`).

use alloc::{format, vec::Vec};
use core::ops::Bound;

use super::{
    Args, Call, Command, CommandResult, KeySpec,
    geohash::{Area, Place, Shape},
    parse_int, printable,
    spec::{KeyBegin, KeyFind, acl, flag, key_flag},
    zset::{parse_score, store_result, zadd},
};
use crate::{
    bytes::number::{DecimalBuffer, format_u64},
    error::{Error, SYNTAX},
    resp::Reply,
    store::zset::ZSet,
};

const READ: u32 = key_flag::RO | key_flag::ACCESS;
const READ_KEY: &[KeySpec] = &[KeySpec::one(1, READ)];

/// The key after a word that is searched from an argument on.
const fn stored(word: &'static str, from: i32) -> KeySpec {
    KeySpec {
        begin: KeyBegin::Keyword(word, from),
        find: KeyFind::Range { last: 0, step: 1, limit: 0 },
        flags: key_flag::OW | key_flag::UPDATE,
    }
}

/// The commands of this file.
pub const COMMANDS: &[Command] = &[
    Command::run("geoadd", -5, flag::WRITE | flag::DENYOOM, geoadd).keys(&[KeySpec::one(1, key_flag::RW | key_flag::UPDATE)]).acl(acl::GEO).doc("geo", "3.2.0", "Adds places to a sorted set, or moves them.", "O(log(N)) for each place, where N is the size of the sorted set."),
    Command::run("geodist", -4, flag::READONLY, geodist).keys(READ_KEY).acl(acl::GEO).doc("geo", "3.2.0", "Gives the distance between two places.", "O(1)"),
    Command::run("geohash", -2, flag::READONLY, geohash).keys(READ_KEY).acl(acl::GEO).doc("geo", "3.2.0", "Gives places as geohashes that other programs know.", "O(1) for each place."),
    Command::run("geopos", -2, flag::READONLY, geopos).keys(READ_KEY).acl(acl::GEO).doc("geo", "3.2.0", "Gives the longitudes and latitudes of places.", "O(1) for each place."),
    Command::run("georadius", -6, flag::WRITE | flag::DENYOOM | flag::MOVABLE_KEYS, georadius).keys(&[KeySpec::one(1, READ), stored("STORE", 6), stored("STOREDIST", 6)]).acl(acl::GEO).doc("geo", "3.2.0", "Gives or stores the places around a point.", "O(N+log(M)) where N is the number of members in the box around the area and M that of members inside of it.").deprecated("6.2.0", "`GEOSEARCH` and `GEOSEARCHSTORE` with the `BYRADIUS` argument"),
    Command::run("georadius_ro", -6, flag::READONLY, georadius_ro).keys(READ_KEY).acl(acl::GEO).doc("geo", "3.2.10", "Gives the places around a point.", "O(N+log(M)) where N is the number of members in the box around the area and M that of members inside of it.").deprecated("6.2.0", "`GEOSEARCH` with the `BYRADIUS` argument"),
    Command::run("georadiusbymember", -5, flag::WRITE | flag::DENYOOM | flag::MOVABLE_KEYS, georadiusbymember).keys(&[KeySpec::one(1, READ), stored("STORE", 5), stored("STOREDIST", 5)]).acl(acl::GEO).doc("geo", "3.2.0", "Gives or stores the places around another one.", "O(N+log(M)) where N is the number of members in the box around the area and M that of members inside of it.").deprecated("6.2.0", "`GEOSEARCH` and `GEOSEARCHSTORE` with the `BYRADIUS` and `FROMMEMBER` arguments"),
    Command::run("georadiusbymember_ro", -5, flag::READONLY, georadiusbymember_ro).keys(READ_KEY).acl(acl::GEO).doc("geo", "3.2.10", "Gives the places around another one.", "O(N+log(M)) where N is the number of members in the box around the area and M that of members inside of it.").deprecated("6.2.0", "`GEOSEARCH` with the `BYRADIUS` and `FROMMEMBER` arguments"),
    Command::run("geosearch", -7, flag::READONLY, geosearch).keys(READ_KEY).acl(acl::GEO).doc("geo", "6.2.0", "Gives the places in a circle or a box.", "O(N+log(M)) where N is the number of members in the box around the area and M that of members inside of it."),
    Command::run("geosearchstore", -8, flag::WRITE | flag::DENYOOM, geosearchstore).keys(&[KeySpec::one(1, key_flag::OW | key_flag::UPDATE), KeySpec::one(2, READ)]).acl(acl::GEO).doc("geo", "6.2.0", "Stores the places in a circle or a box.", "O(N+log(M)) where N is the number of members in the box around the area and M that of members inside of it."),
];

// --- Arguments ------------------------------------------------------------------------------------

/// Longitude and latitude.
fn parse_place(longitude: &[u8], latitude: &[u8]) -> Result<Place, Error> {
    let place = Place { longitude: parse_score(longitude)?, latitude: parse_score(latitude)? };
    if !place.is_valid() {
        let Place { longitude, latitude } = place;
        return Err(Error::text(format!("ERR invalid longitude,latitude pair {longitude:.6},{latitude:.6}")));
    }
    Ok(place)
}

/// Metres in one of this unit.
fn parse_unit(word: &[u8]) -> Result<f64, Error> {
    match &*word.to_ascii_lowercase() {
        b"m" => Ok(1.0),
        b"km" => Ok(1000.0),
        b"ft" => Ok(0.3048),
        b"mi" => Ok(1609.34),
        _ => Err(Error::new("ERR unsupported unit provided. please use M, KM, FT, MI")),
    }
}

fn parse_length(text: &[u8], not_a_number: &'static str) -> Result<f64, Error> {
    parse_score(text).map_err(|_| Error::new(not_a_number))
}

// --- Single places --------------------------------------------------------------------------------

fn geoadd(call: &mut Call) -> CommandResult {
    let is_option = |word: &&&[u8]| matches!(&*word.to_ascii_lowercase(), b"nx" | b"xx" | b"ch");
    let options: Args = &call.args[2..2 + call.args[2..].iter().take_while(is_option).count()];
    let places = &call.args[2 + options.len()..];
    let has = |wanted: &[u8]| options.iter().any(|option| option.eq_ignore_ascii_case(wanted));
    if !places.len().is_multiple_of(3) || (has(b"nx") && has(b"xx")) {
        return Err(SYNTAX);
    }
    let mut members = Vec::with_capacity(places.len() / 3);
    for place in places.chunks(3) {
        let score = parse_place(place[0], place[1])?.score();
        members.push((format_u64(score, &mut DecimalBuffer::default()).to_vec(), place[2]));
    }
    let mut args: Vec<&[u8]> = [&[b"zadd", call.args[1]], options].concat();
    args.extend(members.iter().flat_map(|(score, member)| [&**score, member]));
    zadd(&mut Call {
        args: &args,
        store: call.store,
        reply: call.reply,
        record: call.record,
        context: call.context,
        block: None,
    })?;
    call.record.replace(&args);
    Ok(())
}

fn geodist(call: &mut Call) -> CommandResult {
    let unit_m = match call.args.len() {
        4 => 1.0,
        5 => parse_unit(call.args[4])?,
        _ => return Err(SYNTAX),
    };
    let zset = call.store.get::<ZSet>(call.args[1])?;
    let place = |member| zset.and_then(|zset| zset.score(member)).map(Place::of_score);
    match (place(call.args[2]), place(call.args[3])) {
        (Some(first), Some(second)) => reply_distance(call.reply, first.distance_m(second) / unit_m),
        _ => call.reply.null(),
    }
    Ok(())
}

/// With four decimals.
fn reply_distance(reply: &mut Reply, distance: f64) {
    let rounded = libm::rint(distance * 10_000.0) as u64;
    reply.bulk(format!("{}.{:04}", rounded / 10_000, rounded % 10_000).as_bytes());
}

fn geohash(call: &mut Call) -> CommandResult {
    reply_places(call, |reply, place| match place {
        Some(place) => reply.bulk(&place.geohash()),
        None => reply.null(),
    })
}

fn geopos(call: &mut Call) -> CommandResult {
    reply_places(call, |reply, place| match place {
        Some(place) => reply_coordinates(reply, place),
        None => reply.null_array(),
    })
}

fn reply_places(call: &mut Call, show: impl Fn(&mut Reply, Option<Place>)) -> CommandResult {
    let zset = call.store.get::<ZSet>(call.args[1])?;
    call.reply.array(call.args.len() - 2);
    for member in &call.args[2..] {
        show(call.reply, zset.and_then(|zset| zset.score(member)).map(Place::of_score));
    }
    Ok(())
}

fn reply_coordinates(reply: &mut Reply, place: Place) {
    reply.array(2);
    reply.human_double(place.longitude);
    reply.human_double(place.latitude);
}

// --- Searching ------------------------------------------------------------------------------------

/// What a command of this family takes.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Form {
    /// GEORADIUS: a point and a radius.
    Radius {
        may_store: bool,
    },
    /// GEORADIUSBYMEMBER: a member and a radius.
    RadiusByMember {
        may_store: bool,
    },
    Search,
    SearchStore,
}

impl Form {
    fn is_search(self) -> bool {
        matches!(self, Form::Search | Form::SearchStore)
    }

    fn may_name_target(self) -> bool {
        matches!(self, Form::Radius { may_store: true } | Form::RadiusByMember { may_store: true })
    }
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Order {
    Nearest,
    Farthest,
}

/// Where results go instead of to the client.
#[derive(Clone, Copy)]
struct Target<'a> {
    key: &'a [u8],
    /// Scores are distances instead of places.
    has_distances: bool,
}

/// Where a search is centred.
#[derive(Clone, Copy)]
enum Center {
    At(Place),
    /// At a member of a key that is not there: the rest is parsed, then nothing is found.
    Nowhere,
}

/// What is asked for.
struct Query<'a> {
    center: Option<Center>,
    /// The centre was given as a point, not as a member.
    is_from_place: bool,
    shape: Option<Shape>,
    /// Metres in the unit of distances.
    unit_m: f64,
    order: Option<Order>,
    /// How many at most; 0 is all.
    count: usize,
    /// Any will do, not the nearest.
    is_any: bool,
    with_distance: bool,
    with_score: bool,
    with_coordinates: bool,
    target: Option<Target<'a>>,
}

fn georadius(call: &mut Call) -> CommandResult {
    search(call, Form::Radius { may_store: true })
}

fn georadius_ro(call: &mut Call) -> CommandResult {
    search(call, Form::Radius { may_store: false })
}

fn georadiusbymember(call: &mut Call) -> CommandResult {
    search(call, Form::RadiusByMember { may_store: true })
}

fn georadiusbymember_ro(call: &mut Call) -> CommandResult {
    search(call, Form::RadiusByMember { may_store: false })
}

fn geosearch(call: &mut Call) -> CommandResult {
    search(call, Form::Search)
}

fn geosearchstore(call: &mut Call) -> CommandResult {
    search(call, Form::SearchStore)
}

fn search(call: &mut Call, form: Form) -> CommandResult {
    let args = call.args;
    let source = if form == Form::SearchStore { args[2] } else { args[1] };
    let zset = call.store.get::<ZSet>(source)?;
    let query = Query::parse(args, zset, form)?;
    query.check(args, form)?;
    let found = zset.map_or(Vec::new(), |zset| query.run(zset));
    match query.target {
        None => query.reply(call.reply, &found),
        Some(target) => {
            let event = if form.is_search() { "geosearchstore" } else { "georadiusstore" };
            store_found(call, &query, target, &found, event);
        }
    }
    Ok(())
}

/// A place inside.
struct Found {
    member: Vec<u8>,
    score: f64,
    place: Place,
    distance_m: f64,
}

impl<'a> Query<'a> {
    fn parse(args: Args<'a>, zset: Option<&ZSet>, form: Form) -> Result<Query<'a>, Error> {
        let mut query = Query {
            center: None,
            is_from_place: false,
            shape: None,
            unit_m: 1.0,
            order: None,
            count: 0,
            is_any: false,
            with_distance: false,
            with_score: false,
            with_coordinates: false,
            target: None,
        };
        let mut rest = match form {
            Form::Radius { .. } => {
                query.center = Some(Center::At(parse_place(args[2], args[3])?));
                query.take_radius(args[4], args[5])?;
                &args[6..]
            }
            Form::RadiusByMember { .. } => {
                query.take_member(zset, args[2])?;
                if zset.is_some() {
                    query.take_radius(args[3], args[4])?;
                }
                &args[5..]
            }
            Form::Search => &args[2..],
            Form::SearchStore => {
                query.target = Some(Target { key: args[1], has_distances: false });
                &args[3..]
            }
        };
        while let [word, after @ ..] = rest {
            rest = query.take_option(word, after, zset, form)?;
        }
        Ok(query)
    }

    /// Takes one option in; what follows it and its values.
    fn take_option(
        &mut self,
        word: &[u8],
        after: Args<'a>,
        zset: Option<&ZSet>,
        form: Form,
    ) -> Result<Args<'a>, Error> {
        let is_search = form.is_search();
        match (&*word.to_ascii_lowercase(), after) {
            (b"withdist", _) => self.with_distance = true,
            (b"withhash", _) => self.with_score = true,
            (b"withcoord", _) => self.with_coordinates = true,
            (b"any", _) => self.is_any = true,
            (b"asc", _) => self.order = Some(Order::Nearest),
            (b"desc", _) => self.order = Some(Order::Farthest),
            (b"count", [count, after @ ..]) => {
                let count = usize::try_from(parse_int(count)?).ok().filter(|&count| count > 0);
                self.count = count.ok_or(Error::new("ERR COUNT must be > 0"))?;
                return Ok(after);
            }
            (name @ (b"store" | b"storedist"), [key, after @ ..]) if form.may_name_target() => {
                self.target = Some(Target { key, has_distances: name == b"storedist" });
                return Ok(after);
            }
            (b"storedist", _) if form == Form::SearchStore => {
                self.target = self.target.map(|target| Target { has_distances: true, ..target });
            }
            (b"frommember", [member, after @ ..]) if is_search && !self.is_from_place => {
                self.take_member(zset, member)?;
                return Ok(after);
            }
            (b"fromlonlat", [longitude, latitude, after @ ..])
                if is_search && (self.center.is_none() || self.is_from_place) =>
            {
                self.center = Some(Center::At(parse_place(longitude, latitude)?));
                self.is_from_place = true;
                return Ok(after);
            }
            (b"byradius", [radius, unit, after @ ..])
                if is_search && !matches!(self.shape, Some(Shape::Box { .. })) =>
            {
                self.take_radius(radius, unit)?;
                return Ok(after);
            }
            (b"bybox", [width, height, unit, after @ ..])
                if is_search && !matches!(self.shape, Some(Shape::Circle { .. })) =>
            {
                self.take_box(width, height, unit)?;
                return Ok(after);
            }
            _ => return Err(SYNTAX),
        }
        Ok(after)
    }

    fn take_member(&mut self, zset: Option<&ZSet>, member: &[u8]) -> CommandResult {
        self.center = Some(match zset {
            None => Center::Nowhere,
            Some(zset) => {
                let score = zset.score(member);
                Center::At(Place::of_score(
                    score.ok_or(Error::new("ERR could not decode requested zset member"))?,
                ))
            }
        });
        Ok(())
    }

    fn take_radius(&mut self, radius: &[u8], unit: &[u8]) -> CommandResult {
        let radius = parse_length(radius, "ERR need numeric radius")?;
        if radius < 0.0 {
            return Err(Error::new("ERR radius cannot be negative"));
        }
        self.unit_m = parse_unit(unit)?;
        self.shape = Some(Shape::Circle { radius_m: radius * self.unit_m });
        Ok(())
    }

    fn take_box(&mut self, width: &[u8], height: &[u8], unit: &[u8]) -> CommandResult {
        let width = parse_length(width, "ERR need numeric width")?;
        let height = parse_length(height, "ERR need numeric height")?;
        if width < 0.0 || height < 0.0 {
            return Err(Error::new("ERR height or width cannot be negative"));
        }
        self.unit_m = parse_unit(unit)?;
        self.shape = Some(Shape::Box { width_m: width * self.unit_m, height_m: height * self.unit_m });
        Ok(())
    }

    /// Options that do not go together, or miss each other.
    fn check(&self, args: Args<'_>, form: Form) -> CommandResult {
        if self.target.is_some() && (self.with_distance || self.with_score || self.with_coordinates) {
            let what = if form.is_search() { "GEOSEARCHSTORE" } else { "STORE option in GEORADIUS" };
            return Err(Error::text(format!(
                "ERR {what} is not compatible with WITHDIST, WITHHASH and WITHCOORD options"
            )));
        }
        let name = printable(args[0]);
        if form.is_search() && self.center.is_none() {
            return Err(Error::text(format!(
                "ERR exactly one of FROMMEMBER or FROMLONLAT can be specified for {name}"
            )));
        }
        if form.is_search() && self.shape.is_none() {
            return Err(Error::text(format!(
                "ERR exactly one of BYRADIUS and BYBOX can be specified for {name}"
            )));
        }
        if self.is_any && self.count == 0 {
            return Err(Error::new("ERR the ANY argument requires COUNT argument"));
        }
        Ok(())
    }

    /// The places inside, in the order wanted, as many as wanted.
    fn run(&self, zset: &ZSet) -> Vec<Found> {
        let (Some(Center::At(center)), Some(shape)) = (self.center, self.shape) else { return Vec::new() };
        let mut found = self.collect(zset, Area { center, shape });
        // The nearest, if not all are wanted and nobody says which.
        let default = (self.count > 0 && !self.is_any).then_some(Order::Nearest);
        match self.order.or(default) {
            Some(Order::Nearest) => {
                found.sort_by(|first, second| first.distance_m.total_cmp(&second.distance_m))
            }
            Some(Order::Farthest) => {
                found.sort_by(|first, second| second.distance_m.total_cmp(&first.distance_m))
            }
            None => {}
        }
        if self.count > 0 {
            found.truncate(self.count);
        }
        found
    }

    fn collect(&self, zset: &ZSet, area: Area) -> Vec<Found> {
        let limit = if self.is_any { self.count } else { usize::MAX };
        let in_range = |range: core::ops::Range<u64>| {
            let scores = (Bound::Included(range.start as f64), Bound::Excluded(range.end as f64));
            zset.range(zset.ranks_by_score(scores))
        };
        let inside = area.score_ranges().flat_map(in_range).filter_map(|(member, score)| {
            let place = Place::of_score(score);
            let distance_m = area.distance_inside_m(place)?;
            Some(Found { member: member.to_vec(), score, place, distance_m })
        });
        inside.take(limit).collect()
    }

    fn reply(&self, reply: &mut Reply, found: &[Found]) {
        let extras = [self.with_distance, self.with_score, self.with_coordinates];
        let extra_count = extras.into_iter().filter(|&is_wanted| is_wanted).count();
        reply.array(found.len());
        for found in found {
            if extra_count > 0 {
                reply.array(1 + extra_count);
            }
            reply.bulk(&found.member);
            if self.with_distance {
                reply_distance(reply, found.distance_m / self.unit_m);
            }
            if self.with_score {
                reply.integer(found.score as i64);
            }
            if self.with_coordinates {
                reply_coordinates(reply, found.place);
            }
        }
    }
}

fn store_found(call: &mut Call, query: &Query<'_>, target: Target<'_>, found: &[Found], event: &'static str) {
    let limits = &call.store.limits;
    let mut result = ZSet::new();
    for found in found {
        let score = if target.has_distances { found.distance_m / query.unit_m } else { found.score };
        result.insert(&found.member, score, limits);
    }
    store_result(call, target.key, result, event);
}

#[cfg(test)]
mod tests {
    use crate::{
        commands::testing::{Bench, check},
        resp::Protocol,
        store::Limits,
    };

    const SICILY: &str = "GEOADD s 13.361389 38.115556 Palermo 15.087269 37.502669 Catania";

    /// Runs the same on listpacks and on indexes.
    #[track_caller]
    fn check_both(commands: &[(&str, &str)]) {
        check(commands);
        let mut bench = Bench::new();
        bench.store.limits = Limits { zset_listpack_entries_max: 0, ..Limits::default() };
        bench.check(commands);
    }

    #[test]
    fn places_are_added_and_shown() {
        check_both(&[
            (SICILY, ":2"),
            ("ZSCORE s Palermo", "\"3479099956230698\""),
            ("GEOADD s NX 0 0 Palermo", ":0"),
            ("GEOADD s XX CH 13.361389 38.115556 Palermo 1 1 none", ":0"),
            ("GEOADD s CH 13.4 38.115556 Palermo", ":1"),
            (SICILY, ":0"),
            ("GEOHASH s Palermo Catania none", "[\"sqc8b49rny0\", \"sqdtr74hyu0\", nil]"),
            ("GEOHASH none a", "[nil]"),
            ("GEOPOS s Palermo none", "[[\"13.36138933897018433\", \"38.11555639549629859\"], nil]"),
            ("GEOPOS none a", "[nil]"),
            ("GEOPOS s", "[]"),
            ("GEODIST s Palermo Catania", "\"166274.1516\""),
            ("GEODIST s Palermo Catania km", "\"166.2742\""),
            ("GEODIST s Palermo Catania MI", "\"103.3182\""),
            ("GEODIST s Palermo Catania ft", "\"545518.8700\""),
            ("GEODIST s Palermo Palermo", "\"0.0000\""),
            ("GEODIST s Palermo none", "nil"),
            ("GEODIST none a b", "nil"),
        ]);
    }

    #[test]
    fn areas_are_searched() {
        check_both(&[
            (SICILY, ":2"),
            ("GEOADD s 12.758489 38.788135 edge1 17.241510 38.788135 edge2", ":2"),
            ("GEORADIUS s 15 37 200 km", "[\"Palermo\", \"Catania\"]"),
            ("GEORADIUS s 15 37 200 km ASC", "[\"Catania\", \"Palermo\"]"),
            (
                "GEORADIUS s 15 37 200 km DESC WITHDIST",
                "[[\"Palermo\", \"190.4424\"], [\"Catania\", \"56.4413\"]]",
            ),
            ("GEORADIUS_RO s 15 37 200 km WITHHASH COUNT 1", "[[\"Catania\", :3479447370796909]]"),
            ("GEORADIUS s 15 37 200 km COUNT 1 ANY", "[\"Palermo\"]"),
            ("GEORADIUS s 15 37 1 m", "[]"),
            ("GEORADIUS s 15 37 0 m", "[]"),
            ("GEORADIUSBYMEMBER s Palermo 0 m", "[\"Palermo\"]"),
            ("GEORADIUSBYMEMBER s Palermo 170 km ASC", "[\"Palermo\", \"edge1\", \"Catania\"]"),
            ("GEORADIUSBYMEMBER_RO s Catania 170 km DESC", "[\"Palermo\", \"Catania\"]"),
            ("GEOSEARCH s FROMLONLAT 15 37 BYRADIUS 200 km ASC", "[\"Catania\", \"Palermo\"]"),
            (
                "GEOSEARCH s FROMLONLAT 15 37 BYBOX 400 400 km ASC WITHCOORD WITHDIST COUNT 1",
                "[[\"Catania\", \"56.4413\", [\"15.08726745843887329\", \"37.50266842333162032\"]]]",
            ),
            (
                "GEOSEARCH s FROMLONLAT 15 37 BYBOX 400 400 km ASC",
                "[\"Catania\", \"Palermo\", \"edge2\", \"edge1\"]",
            ),
            ("GEOSEARCH s FROMMEMBER Palermo BYBOX 1 1 km", "[\"Palermo\"]"),
            (
                "GEOSEARCH s FROMLONLAT 15 37 BYRADIUS 30000 km ASC",
                "[\"Catania\", \"Palermo\", \"edge2\", \"edge1\"]",
            ),
            ("GEOSEARCH none FROMMEMBER x BYRADIUS 1 m", "[]"),
            ("GEORADIUSBYMEMBER none x bad unit", "[]"),
        ]);
    }

    #[test]
    fn results_are_stored() {
        check_both(&[
            (SICILY, ":2"),
            ("GEORADIUS s 15 37 200 km STORE d", ":2"),
            (
                "ZRANGE d 0 -1 WITHSCORES",
                "[\"Palermo\", \"3479099956230698\", \"Catania\", \"3479447370796909\"]",
            ),
            ("GEORADIUS s 15 37 200 km STOREDIST d COUNT 1", ":1"),
            ("GEOSEARCHSTORE d s FROMLONLAT 15 37 BYRADIUS 100 km", ":1"),
            ("ZRANGE d 0 -1", "[\"Catania\"]"),
            ("GEOSEARCHSTORE d s FROMMEMBER Catania BYRADIUS 1 km STOREDIST", ":1"),
            ("ZSCORE d Catania", "\"0\""),
            ("GEOSEARCHSTORE d none FROMMEMBER x BYRADIUS 1 km", ":0"),
            ("EXISTS d", ":0"),
            ("GEORADIUSBYMEMBER s Palermo 1 km STORE d", ":1"),
            ("GEORADIUSBYMEMBER none x 1 km STORE d", ":0"),
            ("EXISTS d", ":0"),
        ]);
    }

    #[test]
    fn wrong_arguments_are_refused() {
        let syntax = "-ERR syntax error";
        let unit = "-ERR unsupported unit provided. please use M, KM, FT, MI";
        let both = "-ERR exactly one of FROMMEMBER or FROMLONLAT can be specified for GeoSearch";
        check(&[
            ("GEOADD s 1 2", "-ERR wrong number of arguments for 'geoadd' command"),
            ("GEOADD s 1 2 a 3", syntax),
            ("GEOADD s NX XX 1 2 a", syntax),
            ("GEOADD s NX CH CH", syntax),
            ("GEOADD s x 2 a", "-ERR value is not a valid float"),
            ("GEOADD s 181 2 a", "-ERR invalid longitude,latitude pair 181.000000,2.000000"),
            ("GEOADD s 1 85.06 a", "-ERR invalid longitude,latitude pair 1.000000,85.060000"),
            (SICILY, ":2"),
            ("GEODIST s Palermo Catania yd", unit),
            ("GEODIST s Palermo Catania m x", syntax),
            ("GEORADIUS s 15 37 x km", "-ERR need numeric radius"),
            ("GEORADIUS s 15 37 -1 km", "-ERR radius cannot be negative"),
            ("GEORADIUS s 15 37 1 yd", unit),
            ("GEORADIUS s 15 97 1 km", "-ERR invalid longitude,latitude pair 15.000000,97.000000"),
            ("GEORADIUS s 15 37 1 km COUNT 0", "-ERR COUNT must be > 0"),
            ("GEORADIUS s 15 37 1 km COUNT x", "-ERR value is not an integer or out of range"),
            ("GEORADIUS s 15 37 1 km COUNT", syntax),
            ("GEORADIUS s 15 37 1 km ANY", "-ERR the ANY argument requires COUNT argument"),
            ("GEORADIUS s 15 37 1 km BYBOX 1 1 m", syntax),
            ("GEORADIUS_RO s 15 37 1 km STORE d", syntax),
            (
                "GEORADIUS s 15 37 1 km STORE d WITHDIST",
                "-ERR STORE option in GEORADIUS is not compatible with WITHDIST, WITHHASH and WITHCOORD options",
            ),
            ("GEORADIUSBYMEMBER s none 1 km", "-ERR could not decode requested zset member"),
            ("GeoSearch s BYRADIUS 1 km ASC WITHDIST", both),
            (
                "GeoSearch s FROMLONLAT 1 1 ASC WITHDIST",
                "-ERR exactly one of BYRADIUS and BYBOX can be specified for GeoSearch",
            ),
            ("GEOSEARCH s FROMMEMBER none BYRADIUS 1 km", "-ERR could not decode requested zset member"),
            ("GEOSEARCH s FROMMEMBER Palermo FROMLONLAT 1 1 BYRADIUS 1 km", syntax),
            ("GEOSEARCH s FROMLONLAT 1 1 FROMMEMBER Palermo BYRADIUS 1 km", syntax),
            ("GEOSEARCH s FROMLONLAT 1 1 BYRADIUS 1 km BYBOX 1 1 km", syntax),
            ("GEOSEARCH s FROMLONLAT 1 1 BYBOX x 1 km", "-ERR need numeric width"),
            ("GEOSEARCH s FROMLONLAT 1 1 BYBOX 1 x km", "-ERR need numeric height"),
            ("GEOSEARCH s FROMLONLAT 1 1 BYBOX 1 -1 km", "-ERR height or width cannot be negative"),
            ("GEOSEARCH s FROMLONLAT 1 1 BYRADIUS 1 km STORE d", syntax),
            (
                "GEOSEARCHSTORE d s FROMLONLAT 1 1 BYRADIUS 1 km WITHDIST",
                "-ERR GEOSEARCHSTORE is not compatible with WITHDIST, WITHHASH and WITHCOORD options",
            ),
        ]);
        let mut bench = Bench::new();
        bench.run("SET k v");
        for command in [
            "GEOADD k 1 1 a",
            "GEODIST k a b",
            "GEOHASH k a",
            "GEOPOS k a",
            "GEORADIUS k x 1 1 km",
            "GEORADIUSBYMEMBER k a 1 km",
            "GEOSEARCH k FROMMEMBER a BYRADIUS 1 km",
            "GEOSEARCHSTORE d k FROMMEMBER a BYRADIUS 1 km",
        ] {
            let wrong = "-WRONGTYPE Operation against a key holding the wrong kind of value";
            assert_eq!(bench.run(command), wrong, "{command}");
        }
    }

    #[test]
    fn places_are_logged_as_scores_and_announced() {
        let mut bench = Bench::new();
        bench.logs("GEOADD s CH 13.361389 38.115556 Palermo", &["zadd s CH 3479099956230698 Palermo"]);
        assert_eq!(bench.events(), ["new s", "zadd s"]);
        bench.logs("GEOADD s NX 0 0 Palermo", &[]);
        for (command, events) in [
            ("GEORADIUS s 13 38 100 km STORE d", &["new d", "georadiusstore d"][..]),
            ("GEOSEARCHSTORE d s FROMLONLAT 13 38 BYRADIUS 100 km", &["geosearchstore d"]),
            ("GEORADIUS s 0 0 1 km STORE d", &["del d"]),
        ] {
            bench.logs(command, &[command]);
            assert_eq!(bench.events(), events, "{command}");
        }
    }

    #[test]
    fn replies_in_resp3() {
        let mut bench = Bench::new();
        bench.protocol = Protocol::Resp3;
        bench.check(&[
            (SICILY, ":2"),
            ("GEOPOS s Palermo", "[[,13.36138933897018433, ,38.11555639549629859]]"),
            ("GEODIST s Palermo Catania", "\"166274.1516\""),
        ]);
    }
}
