package ha

// What BIRD reads. Both sides have the same timers, and no graceful restart: with
// it a router would go on sending to a balancer that is dead, for two minutes.

const birdSession = `
{{- define "bfd"}}
{{- if not .NoBFD}}
# A machine that is dead is known after a second: five packets that did not come.
# That many, as a busy machine must not be taken for a dead one.
protocol bfd {
    interface "*" { interval 200 ms; multiplier 5; };
}
{{end}}
{{- end}}
{{- define "session"}}
{{- if .NoBFD}}
    hold time 3;
    keepalive time 1;
{{- else}}
    bfd on;
    hold time 9;
    keepalive time 3;
{{- end}}
    graceful restart off;       # who is gone gets nothing
    connect delay time 1;
    connect retry time 2;
    error wait time 1, 5;
{{- end -}}
`

const speakerConf = `# bird.conf(5), written by smtplb ha bird of {{.Config}}. For BIRD 2.
# After a change of the listeners' addresses, write it again: birdc configure.
#
# It tells the routers of the VIPs that are up on lo. "smtplb ha bird announce" has
# them there while smtplb takes clients, each time for two seconds, so that nothing
# is announced that nobody stands for.

log syslog all;
router id {{.ID}};

protocol device {
}
{{template "bfd" .}}
protocol direct smtplb_vips {
    interface "lo";
{{- range $family := families .VIPs}}
    {{$family}} {
        import filter {
            if net ~ [ {{routes $.VIPs $family}} ] then accept;
            reject;
        };
    };
{{- end}}
}
{{range .Peers}}
protocol bgp smtplb_router{{.Number}} {
    local {{.Self}} as {{$.AS}};
    neighbor {{.With}} as {{$.RouterAS}};
{{- template "session" $}}
    {{.Channel}} {
        import none;
        export where proto = "smtplb_vips";
        next hop self;
    };
}
{{end -}}
`

const routerConf = `# bird.conf(5) of a router, written by smtplb ha bird router of {{.Config}}. For BIRD 2.
# After a change of the listeners' addresses, write it again: birdc configure.
#
# Any balancer in the networks below may announce the VIPs, and nothing else. Their
# routes are put in table {{.Table}} of the kernel, which nobody looks in: smtplb-ecmp
# copies them into the main table, so that sessions outlast changes of the group.

log syslog all;
router id {{.ID}};

protocol device {
}
{{template "bfd" .}}
{{- range $family := families .VIPs}}
{{$family}} table smtplb_{{$family}};

protocol kernel smtplb_kernel_{{$family}} {
    kernel table {{$.Table}};
    merge paths on limit 128;   # all balancers, not the best one
    {{$family}} {
        table smtplb_{{$family}};
        import none;
        export all;
    };
}
{{end}}
{{- range .Peers}}
protocol bgp smtplb_balancers{{.Number}} {
    local {{.Self}} as {{$.RouterAS}};
    neighbor range {{.With}} as {{$.AS}};   # one that is added needs no change here
    dynamic name "smtplb{{.Number}}_";
    passive on;
{{- template "session" $}}
    {{.Channel}} {
        table smtplb_{{.Channel}};
        import filter {
            if net ~ [ {{routes $.VIPs .Channel}} ] then accept;
            reject;
        };
        export none;
    };
}
{{end -}}
`
