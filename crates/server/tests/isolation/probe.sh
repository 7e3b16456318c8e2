
section 'what only a filter can refuse'
# Whether the kernel itself refuses these depends on how it is built and set up.
perl -e '
    my @calls = (
        ["bpf", 321, 0, 0, 0],
        ["perf_event_open", 298, 0, 0, -1, -1, 0],
        ["userfaultfd", 323, 0],
        ["io_uring_setup", 425, 1, 0],
        ["open_by_handle_at", 304, -1, 0, 0],
        ["request_key", 249, 0, 0, 0, 0],
        ["init_module", 175, -1, 0, -1],
        ["kexec_load", 246, 0, 0, 0, 0],
        ["mbind", 237, 1, 0, 0, 0, 0, 0],
        ["socket, packet", 41, 17, 3, 0],
        ["socket, AF_ALG", 41, 38, 5, 0],
        ["socket, vsock", 41, 40, 1, 0],
        ["a call of tomorrow", 9999],
    );
    for (@calls) {
        my ($name, $number, @arguments) = @$_;
        my $answer = syscall($number, @arguments);
        print "$name: ", $answer != -1 ? "allowed" : $! == 1 ? "refused" : $! == 38 ? "unknown" : "$!", "\n";
    }
'

section 'processes'
echo "process 1 is $(cat /proc/1/comm), of the user $(stat -c %u /proc/1)"
for process in /proc/[0-9]*; do
    if [ -d $process ] && [ "$(stat -c %u $process 2> /dev/null)" = 65534 ]; then echo "$process is another sandbox's"; fi
done
# What belongs to another user takes a capability, to root as well.
setpriv --reuid 33 --clear-groups sleep 100 &
other=$!
until [ "$(stat -c %u /proc/$other)" = 33 ]; do :; done
perl -e "exit(syscall(101, 0x4206, $other, 0, 0) == -1)" && echo "another user's can be traced"
kill $other && echo "another user's can be ended"

section 'link to the server'
stat -c '%n %F %a %u' /run/mistle/*
try rm /run/mistle/control.sock
try mv /run/mistle/control.sock /run/mistle/other.sock
try ln -s /tmp/x /run/mistle/control.sock.new
try chmod 666 /run/mistle/control.sock
cat > /tmp/connect << 'END'
#!/usr/bin/perl
use IO::Socket::UNIX;
exit !IO::Socket::UNIX->new(Peer => $ARGV[0]);
END
cat > /tmp/listen << 'END'
#!/usr/bin/perl
use IO::Socket::UNIX;
exit !IO::Socket::UNIX->new(Local => $ARGV[0], Listen => 1);
END
chmod 755 /tmp/connect /tmp/listen
try /tmp/listen /run/mistle/new.sock
try setpriv --reuid 33 --clear-groups /tmp/connect /run/mistle/control.sock
try setpriv --reuid 33 --clear-groups /tmp/connect /run/mistle/egress.sock

section 'straight to the server'
for address in 127.0.0.1/{port} ::1/{port}; do
    echo "$address: $(bash -c "exec 3<> /dev/tcp/$address" 2>&1 | sed 's/.*: //' | tail -1)"
done
perl -e 'use Socket; socket(S, AF_INET, SOCK_DGRAM, 0); send(S, "x", 0, pack_sockaddr_in(53, inet_aton("1.1.1.1"))) or print "a datagram: $!\n"'

section 'through the proxy'
ask='
    use IO::Socket::INET;
    my ($request, $target) = @ARGV;
    my $proxy = IO::Socket::INET->new("127.0.0.1:3128") or die "no proxy";
    print $proxy "$request HTTP/1.1\r\nHost: $target\r\n\r\n";
    $/ = "\r\n";
    my ($status) = <$proxy> =~ /^\S+ (\d+)/;
    my $length = 0;
    while ((my $line = <$proxy>) ne "\r\n") { $length = $1 if $line =~ /^content-length: (\d+)/i }
    read $proxy, my $body, $length;
    print "$request: $status ", $body =~ /"type":"([^"]+)"/, "\n";
'
# What the profile lists, what it does not, what is no target, and what is the gateway's own.
for target in 169.254.169.254:80 '[fd00:ec2::254]:80' 127.0.0.1:{port} localhost:{port} '[::1]:{port}' 0.0.0.0:{port} \
    10.0.0.1:22 192.168.0.1:80 172.16.0.1:443 100.100.100.200:80 \
    metadata.google.internal:80 127.0.0.2:{port} example.org:443 \
    127.1:{port} 2130706433:{port} 0x7f000001:{port} 0177.0.0.1:{port} 127.0.0.1.:{port} \
    '[::ffff:127.0.0.1]:{port}' '[::ffff:169.254.169.254]:80' 2852039166:80 0xa9fea9fe:80 169.254.43518:80 \
    other.model.mistle.internal:80 demo.model.mistle.internal:443 mistle.internal:80
do
    perl -e "$ask" "CONNECT $target" "$target"
done
perl -e "$ask" 'GET http://169.254.169.254/latest/meta-data/' 169.254.169.254
perl -e "$ask" 'GET http://127.0.0.1:{port}/healthz' 127.0.0.1:{port}
