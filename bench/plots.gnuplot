# Draws what bench/report has put into build/bench/*.dat:  gnuplot -e 'num_peers=5; num_threaded=4' bench/plots.gnuplot
data = "build/bench/"
out = "bench/"
array colours[8] = ["#c0392b", "#2e6da4", "#55a3d9", "#8a6d3b", "#7f7f7f", "#b58900", "#6c71c4", "#2aa198"]

set datafile separator "\t"
set datafile missing "nan"
set grid ytics lc rgb "#dddddd"
set border 3 lc rgb "#666666"
set tics nomirror
set logscale y
set format y "%g"

set terminal svg size 1000,500 noenhanced font "sans-serif,13" background "#ffffff"
set output out . "operations.svg"
set title "Nanoseconds an operation takes (one line of text, in the last three)"
set ylabel "ns, logarithmic"
set key top left horizontal
set style data histogram
set style histogram clustered gap 1
set style fill solid noborder
set boxwidth 0.95
set yrange [0.1:100000]
set bmargin 4
plot for [i = 1:num_peers] data . "operations.dat" using (column(i + 1)):xtic(1) \
    title columnhead(i + 1) lc rgb colours[i]

set terminal svg size 640,440 noenhanced font "sans-serif,13" background "#ffffff"
set output out . "scrape.svg"
set bmargin -1
set key top left Left reverse vertical
set title "A scrape of counters"
set xlabel "series"
set ylabel "milliseconds"
set logscale x
set xtics ("100" 100, "1,000" 1000, "10,000" 10000, "100,000" 100000, "1,000,000" 1000000)
set xrange [70:1500000]
set yrange [*:*]
set style data linespoints
plot for [i = 1:num_peers] data . "scrape.dat" using 1:(column(i + 1)) \
    title columnhead(i + 1) lc rgb colours[i] lw 2 pt 7 ps 0.6

set output out . "threads.svg"
set terminal svg size 900,440 noenhanced font "sans-serif,13" background "#ffffff"
set multiplot layout 1,2
set key at graph 0.02, 0.98 top left Left reverse
set xlabel "threads"
set ylabel "ns of CPU for an operation"
set format x "%g"
set xtics (1, 2, 4, 8)
set xrange [0.9:9]
set title "inc of the same counter"
set yrange [0.3:5000]
plot for [i = 1:num_threaded] data . "threads-inc.dat" using 1:(column(i + 1)) \
    title columnhead(i + 1) lc rgb colours[i] lw 2 pt 7 ps 0.6
unset key
set title "observe of the same histogram"
plot for [i = 1:num_threaded] data . "threads-observe-11.dat" using 1:(column(i + 1)) \
    title columnhead(i + 1) lc rgb colours[i] lw 2 pt 7 ps 0.6
unset multiplot
