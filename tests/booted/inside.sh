#!/bin/bash
# What a user does, in a Debian that has booted; each line is a check. /shared holds the bundle and takes what must come out.
set -u
cd /shared/bundle
NAME=$(sed -n "s/^NAME='\(.*\)'$/\1/p" install.sh)
folder=/opt/edge-tqs/$NAME
live=edge-tqs-forecastd-$NAME.service
serial=edge-tqs-$NAME.service
failed=0
check() { # sentence, command...
    said=$1
    shift
    if out=$("$@" 2>&1); then echo "ok      $said"; else
        echo "FAILED  $said: $out"
        failed=1
    fi
}
active() { [ "$(systemctl is-active "$1")" = active ]; }
eventually() { # seconds, command...
    until=$((SECONDS + $1))
    shift
    while ! "$@"; do
        [ $SECONDS -lt $until ] || { "$@"; return; }
        sleep .2
    done
}
exposure() { systemd-analyze security --no-pager "$1" | sed -n 's/.*Overall exposure level.*: \([0-9.]*\) .*/\1/p'; }
exposed_at_most() { awk -v is="$(exposure "$1")" -v most="$2" 'BEGIN { exit !(is != "" && is + 0 <= most + 0) }'; }
retained() { mosquitto_sub -h 127.0.0.1 -t "$1" -C 1 -W 3; }

echo "# live forecasts by a broker, installed under umask 077"
(umask 077; ./install.sh --broker 127.0.0.1 >/shared/said 2>&1); code=$?
check "install.sh --broker 127.0.0.1" test $code -eq 0
check "the service is active" active "$live"
check "it is on the broker" eventually 10 grep -q online <(retained "edge-tqs/$NAME/online")
check "systemctl status tells what it does" eventually 15 sh -c "systemctl show -p StatusText $live | grep -q 'sample'"
echo "        exposure of $live: $(exposure "$live")"
check "exposure at most 2.0" exposed_at_most "$live" 2.0
check "its store is in its folder" eventually 5 test -s "/var/lib/edge-tqs-$NAME/forecastd.sqlite"
check "root sees the report card" "$folder/edge-tqs-forecastd" --card

echo "# stuck, it is killed and comes back"
pid=$(systemctl show -p MainPID --value "$live")
mkdir -p "/run/systemd/system/$live.d"
printf '[Service]\nWatchdogSec=2\nRestartSec=1\n' >"/run/systemd/system/$live.d/short.conf"
systemctl daemon-reload
systemctl restart "$live"
sleep 4
pid=$(systemctl show -p MainPID --value "$live")
check "with a watchdog of 2 s it lives on" active "$live"
kill -STOP "$pid"
changed() { now=$(systemctl show -p MainPID --value "$live"); [ "$now" != "$pid" ] && [ "$now" != 0 ] && active "$live"; }
check "SIGSTOP: the watchdog starts it anew" eventually 15 changed
rm -r "/run/systemd/system/$live.d"
systemctl daemon-reload

echo "# a forecastd.json of one's own: a day of the example, as messages"
python3 - <<'P'
import json
about = json.load(open("/shared/bundle/forecastd.json"))
about["source"] = {"kind": "mqtt", "broker": "127.0.0.1", "topic": "greenhouse/state", "time": "time", "live": False}
about["sinks"] = [{"kind": "mqtt", "broker": "127.0.0.1"}]
about["time_zone"] = "UTC"
json.dump(about, open("/shared/bundle/forecastd.json", "w"), indent=2)
P
./install.sh --server forecastd >/shared/said 2>&1
check "install.sh --server forecastd replaces it" active "$live"
eventually 10 grep -q online <(retained "edge-tqs/$NAME/online")
sleep 1
python3 - <<'P' | mosquitto_pub -h 127.0.0.1 -q 1 -t greenhouse/state -l
import csv, itertools, json
for row in itertools.islice(csv.DictReader(open("/shared/greenhouse.csv")), 96):
    print(json.dumps({key: value if key == "time" else float(value) for key, value in row.items()}))
P
forecast() { retained "edge-tqs/$NAME/report" | grep -q '"for"'; }
check "a forecast is published" eventually 15 forecast
retained "edge-tqs/$NAME/report" >/shared/report.json
systemctl restart "$live"
again() { systemctl show -p StatusText --value "$live"; journalctl -q -u "$live" -o cat | tail -n 1; }
check "after a restart it is active" active "$live"

echo "# an edited forecastd.json is the user's"
sed -i 's/"horizon": [0-9]*/"horizon": 12/' "$folder/forecastd.json"
./install.sh --server forecastd >/shared/said 2>&1
check "installing again keeps it" grep -q '"horizon": 12' "$folder/forecastd.json"
check "and says so" grep -q "kept $folder/forecastd.json" /shared/said
./install.sh --server forecastd --replace-config >/shared/said 2>&1
check "--replace-config takes the build's" grep -q '"horizon": 24' "$folder/forecastd.json"
check "nothing is left beside it" test ! -e "$folder/forecastd.json.new"

echo "# a mistake is told, and what runs goes on"
cp forecastd.json /shared/good.json
echo '{"source": {"kind": "mqtt"}}' >forecastd.json
./install.sh --server forecastd >/shared/said 2>&1
check "refused in one sentence, exit code 2" test $? -eq 2 -a "$(wc -l </shared/said)" -eq 1
check "the one before runs" active "$live"
cp /shared/good.json forecastd.json

echo "# the validation server on a serial port"
rm -f /dev/serial0
./install.sh --server program >/shared/said 2>&1
python3 /shared/serial_port.py &
bridge=$!
check "it waits for a port that appears late" eventually 20 active "$serial"
sleep 3
check "and serves there" active "$serial"
echo "        exposure of $serial: $(exposure "$serial")"
check "exposure at most 2.0" exposed_at_most "$serial" 2.0
mv /shared/port /shared/serving
check "edge-tqs validate through the port" eventually 120 test -e /shared/validated
check "every step the same" grep -qx 0 /shared/validated
if [ "$(uname -m)" != armv7l ]; then
    ./install.sh --server agent >/shared/said 2>&1; code=$?
    check "the agent, its packages checked by their hashes" test $code -eq 0
    tail -n 1 /shared/said | sed 's/^/        /'
    serves() {
        grep -q agent.py "/etc/systemd/system/$serial" && active "$serial" && return
        journalctl -q -u "$serial" -o cat -n 12
        return 1
    }
    sleep 3
    check "it serves" serves
fi

echo "# uninstalled"
kill $bridge
./install.sh --uninstall >/shared/said 2>&1
check "install.sh --uninstall" test $? -eq 0
check "no unit is left" sh -c "! ls /etc/systemd/system/*edge-tqs* 2>/dev/null"
check "no file is left" test ! -e "$folder"
check "nothing has failed" sh -c "! systemctl list-units --failed --no-legend | grep edge-tqs"
exit $failed
